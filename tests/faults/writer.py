"""A writer that knows what the stores must hold in the end."""

from random import Random

from memories.models import MemoryLog, MemoryVersion
from memories.records.services import NewMemory, create_memories, create_memory, delete_memory, update_memory
from memories.tenants import Tenant
from tests.faults.trial import Trial
from tests.support.conversations import Chat
from tests.support.tenants import new_tenant

TENANTS, CHATS = 20, 10


class Writer:
    """Writes, and knows what must be there in the end."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.tenants = [new_tenant() for _ in range(TENANTS)]
        self.chats = [Chat() for _ in range(CHATS)]
        self.said: dict[str, list[str]] = {chat.name: [] for chat in self.chats}
        # The version and the task of each memory.
        self.expected: dict[int, tuple[int, str]] = {}
        self.number = 0

    def any_tenant(self) -> Tenant:
        return self.chance.choice(self.tenants)

    def write(self, *, scale: int = 1) -> None:
        """About fifteen events that are delivered."""
        for row in create_memories(self.new() for _ in range(scale * self.chance.randint(1, 6))):
            self.expected[row.id] = (row.version, row.task)
        row = create_memory(self.new())
        self.expected[row.id] = (row.version, row.task)
        for memory_id in self.chance.sample(sorted(self.expected), k=2):
            row = update_memory(memory_id, {"task": self.text()})
            self.expected[memory_id] = (row.version, row.task)
        gone = self.chance.choice(list(self.expected))
        delete_memory(gone)
        del self.expected[gone]

    def talk(self) -> None:
        chat = self.chance.choice(self.chats)
        turns = [self.text() for _ in range(self.chance.randint(1, 3))]
        chat.say(*turns)
        self.said[chat.name] += turns

    def new(self) -> NewMemory:
        return NewMemory(**self.any_tenant()._asdict(), task=self.text(), agent="ada")

    def text(self) -> str:
        self.number += 1
        return f"Fix the timeout of service {self.number}"

    def check(self, trial: Trial) -> None:
        rows = MemoryLog.objects.filter(user_id__in=[tenant.user_id for tenant in self.tenants])
        held = {id: (version, task) for id, version, task in rows.values_list("id", "version", "task")}
        trial.expect(
            held == self.expected, f"memories differ from what was written: {set(held) ^ set(self.expected)}"
        )
        doubled = [id for id, (version, _) in self.expected.items() if versions(id) != version]
        trial.expect(not doubled, f"the history of {doubled[:5]} has lost or doubled versions")
        for chat in self.chats:
            said = self.said[chat.name]
            saved = chat.saved
            trial.expect(saved == said, f"{chat.name}: said {len(said)} turns, saved {len(saved)}")
        trial.counts["turns"] = sum(map(len, self.said.values()))


def versions(memory_id: int) -> int:
    return MemoryVersion.objects.filter(pgh_obj_id=memory_id).count()
