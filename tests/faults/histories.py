"""What clients were told, and whether all of it can be true of one store.

A write sets a task that no other write of its history sets. So a read shows which write it saw.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

CREATE, CHANGE, DELETE, READ, SEARCH = "create", "change", "delete", "read", "search"


class Outcome(Enum):
    """`UNKNOWN`: the answer did not come, or was a 503. The service may have done it or not, or do it still."""

    DONE = "done"
    ABSENT = "absent"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Operation:
    """One request about one memory. A search is an operation for each memory that it returned or had to return.

    `began` and `ended` are seconds of one clock. `task`: what a write set, or a read showed.
    """

    kind: str
    began: float
    ended: float
    outcome: Outcome
    memory: int = 0
    version: int = 0
    task: str = ""

    def __str__(self) -> str:
        return (
            f"{self.kind} of {self.memory} at {self.began:.3f}–{self.ended:.3f}: {self.outcome.value}, "
            f"version {self.version}, {self.task!r}"
        )


# What PostgreSQL holds in the end: version and task by id.
State = Mapping[int, tuple[int, str]]


def anomalies(operations: Iterable[Operation], state: State) -> list[str]:
    """What no store that keeps its word could have told. `state`: all memories of the history in the end."""
    of_memories: dict[int, list[Operation]] = defaultdict(list)
    for operation in operations:
        of_memories[operation.memory].append(operation)
    # A create whose answer never came has no id. What was read or stored tells which memory it made.
    unknown = {operation.task: operation for operation in of_memories.pop(0, [])}
    for memory, its in of_memories.items():
        seen = {operation.task for operation in its} | {task for _, task in [state.get(memory, (0, ""))]}
        its += [unknown[task] for task in seen & unknown.keys()]
    strange = {id: held for id, held in state.items() if id not in of_memories and held[1] not in unknown}
    found = [f"nobody wrote {id}, {held}" for id, held in strange.items()]
    for memory, its in of_memories.items():
        found += _Memory(memory, its).anomalies(state.get(memory))
    return found


class _Memory:
    """The operations on one memory, in the order in which they ended."""

    def __init__(self, id: int, operations: list[Operation]) -> None:
        self.id = id
        self.all = sorted(operations, key=lambda operation: operation.ended)
        self.writes = [o for o in self.all if o.kind in (CREATE, CHANGE) and o.outcome is not Outcome.ABSENT]
        self.done = [o for o in self.writes if o.outcome is Outcome.DONE]
        self.deletions = [o for o in self.all if o.kind == DELETE and o.outcome is not Outcome.ABSENT]
        self.reads = [o for o in self.all if o.kind in (READ, SEARCH) and o.outcome is not Outcome.UNKNOWN]

    def anomalies(self, held: tuple[int, str] | None) -> list[str]:
        return [*self._writes(), *self._presence(), *self._reads(), *self._end(held)]

    def _writes(self) -> Iterator[str]:
        """Versions are given once, and a later write has a later version."""
        versions = [write.version for write in self.done]
        if len(set(versions)) < len(versions):
            yield f"two writes of {self.id} were given one version: {versions}"
        for earlier, later in _in_order(self.done):
            if later.version <= earlier.version:
                yield f"a later write has an older version: {earlier}; {later}"

    def _presence(self) -> Iterator[str]:
        """A memory is absent only after somebody began to delete it, and stays so after the deletion."""
        first = min((deletion.began for deletion in self.deletions), default=float("inf"))
        done = [o.ended for o in self.deletions if o.outcome is Outcome.DONE]
        gone = min(done, default=float("inf"))
        for operation in self.all:
            if operation.outcome is Outcome.ABSENT and operation.ended < first:
                yield f"a stored memory was absent: {operation}"
            is_back = operation.outcome is Outcome.DONE and operation.kind in (CHANGE, READ, SEARCH)
            if is_back and operation.began > gone:
                yield f"a deleted memory was back: {operation}"

    def _reads(self) -> Iterator[str]:
        """A read shows what a write set, and nothing older than what was told before the read began."""
        tasks = {write.task: write for write in self.writes}
        seen = [o for o in (*self.done, *self.reads) if o.outcome is Outcome.DONE]
        for read in (read for read in self.reads if read.outcome is Outcome.DONE):
            write = tasks.get(read.task)
            if write is None or (write.outcome is Outcome.DONE and write.version != read.version):
                yield f"a read shows what nobody wrote: {read}"
            elif write.began > read.ended:
                yield f"a read shows a write before it began: {read}"
            known = max((o.version for o in seen if o.ended < read.began), default=0)
            if read.version < known:
                yield f"a read shows an older version than {known}: {read}"

    def _end(self, held: tuple[int, str] | None) -> Iterator[str]:
        if held is None:
            if not self.deletions:
                yield f"memory {self.id} is lost"
            return
        if any(deletion.outcome is Outcome.DONE for deletion in self.deletions):
            yield f"memory {self.id} is back after its deletion"
        version, task = held
        newest = max((write.version for write in self.done), default=0)
        by_task = {write.task: write for write in self.writes}
        if version < newest:
            yield f"memory {self.id} ends at version {version}, and version {newest} was acknowledged"
        if task not in by_task or by_task[task].version not in (0, version):
            yield f"memory {self.id} ends with {task!r} at version {version}, which nobody wrote"
        unknown = sum(write.outcome is Outcome.UNKNOWN for write in self.writes)
        if version > len(self.done) + unknown:
            yield f"memory {self.id} ends at version {version} after at most {len(self.done) + unknown} writes"


def _in_order(writes: list[Operation]) -> Iterator[tuple[Operation, Operation]]:
    """Each write, and the newest write that had ended when it began."""
    for later in writes:
        ended = [earlier for earlier in writes if earlier.ended < later.began]
        if ended:
            yield max(ended, key=lambda write: write.version), later
