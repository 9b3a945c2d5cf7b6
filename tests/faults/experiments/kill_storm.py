"""Processes of two clusters die at random moments and at named points: nothing is lost, nothing done twice.

Each round writes memories, changes, deletions and turns, and kills something: a worker, the relay, the monitor, the
sentinel, the main process or a whole cluster at a random moment; or the process that next reaches a named point. Most
kills follow one another at once. The last ones each wait until all is delivered that the killed cluster had claimed:
within 5 s. Then a cluster is frozen a few times and its connections are cut, as if its machine were lost: within 20 s.
"""

import time
from collections import Counter

from django.test import override_settings
from django_q.tasks import async_task

from outbox.models import Event
from tests.faults import kill_points, stores
from tests.faults.fleet import Fleet, Hits
from tests.faults.names import KILL_POINTS
from tests.faults.trial import Trial
from tests.faults.writer import Writer
from tests.support.conversations import flush_all
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

# How often each kind is killed. A whole cluster takes seconds to start, so it is killed less often.
RANDOM_KILLS = {"worker": 24, "relay": 12, "monitor": 12, "sentinel": 1, "main": 1, "cluster": 2}
POINT_KILLS = dict.fromkeys(kill_points.POINTS, 8)
FLUSH = {kill_points.AMID_FLUSH, kill_points.AFTER_FLUSH}
WHOLE = {"sentinel", "main", "cluster"}
MACHINE = "machine"
# Seconds in which a busy process reaches a point.
REACH_SECONDS = 3.0


def run(trial: Trial) -> None:
    points = trial.folder / "points"
    points.mkdir()
    with RedisServer(trial.folder) as redis:
        buffered = {"CONVERSATION_REDIS_URL": redis.url, "CONVERSATION_REDIS_TIMEOUT_SECONDS": 20.0}
        environment = {
            KILL_POINTS: str(points),
            "CLUSTER_WORKERS": "2",
            "CONVERSATION_IDLE_MINUTES": "0",
            **{name: str(value) for name, value in buffered.items()},
        }
        with override_settings(**buffered), Fleet(trial.folder, 2, **environment) as fleet:
            Storm(trial, fleet).run()


class Storm:
    def __init__(self, trial: Trial, fleet: Fleet) -> None:
        self.trial, self.fleet, self.chance = trial, fleet, trial.chance
        self.points = trial.folder / "points"
        self.writer = Writer(trial.chance)
        self.kills: Counter[str] = Counter()
        # Of the storm, and of the kills that are followed by a calm.
        self.storm, self.calm = Hits(), Hits()

    def run(self) -> None:
        self.trial.say("the storm: one kill after another")
        storm = self.trial.size(400, quick=3)
        while self.kills.total() < storm:
            self.kill(self.storm)
            if self.kills.total() % 50 == 0:
                self.trial.say(f"{self.kills.total()} kills, {stores.open_events().count()} open events")
        self.settle()
        self.trial.say("single kills: each waits until all is delivered that was in hand")
        single = storm + self.trial.size(95, quick=1)
        while self.kills.total() < single:
            self.fleet.wait_until_ready()
            self.kill(self.calm)
            wait_until(self.calm.are_delivered)
        for _ in range(self.trial.size(5, quick=0)):
            self.lose_a_machine()
        self.settle()
        self.report()

    def settle(self) -> None:
        self.fleet.wait_until_ready()
        flush_all()
        stores.wait_until_drained(self.trial)

    def kill(self, hits: Hits) -> None:
        self.fleet.tend()
        kinds = RANDOM_KILLS | POINT_KILLS
        [kind] = self.chance.choices(list(kinds), list(kinds.values()))
        if kind in POINT_KILLS:
            self.kill_at(kind, hits)
        else:
            self.kill_at_random(kind, hits)

    def kill_at_random(self, kind: str, hits: Hits) -> None:
        ready = self.fleet.ready()
        if not ready or (kind in WHOLE and len(ready) < self.fleet.size):
            return  # one cluster lives, as the target supposes
        self.writer.write()
        time.sleep(self.chance.expovariate(1 / 0.1))
        member = self.chance.choice(ready)
        hits.note(member, kind)
        member.kill_a(kind, self.chance)
        self.kills[kind] += 1

    def kill_at(self, point: str, hits: Hits) -> None:
        if not self.fleet.ready():
            return
        kill_points.arm(self.points, point)
        self.writer.write()
        if point in FLUSH:
            self.writer.talk()
            async_task("memories.conversations.schedule.run")
        deadline = time.monotonic() + REACH_SECONDS
        while not (killed := kill_points.killed_at(self.points, point)) and time.monotonic() < deadline:
            time.sleep(0.01)
        if killed is None:
            kill_points.disarm(self.points, point)
            killed = kill_points.killed_at(self.points, point)
        if killed:
            self.kills[point] += 1
            if member := self.fleet.member_of(killed[1]):
                hits.note(member, point)

    def lose_a_machine(self) -> None:
        self.fleet.wait_until_ready()
        self.writer.write(scale=10)
        member = self.chance.choice(self.fleet.members)
        self.calm.note(member, MACHINE)
        member.cut_off()
        self.kills[MACHINE] += 1
        wait_until(self.calm.are_delivered)
        member.thaw()

    def report(self) -> None:
        trial = self.trial
        trial.counts |= {
            "kills": self.kills.total(),
            "events": Event.objects.exclude(delivered_at=None).count(),
        }
        trial.counts |= {f"kills: {kind}": count for kind, count in sorted(self.kills.items())}
        for name, hits in {"storm": self.storm, "single kills": self.calm}.items():
            waits = sorted(hits.waits(), key=lambda wait: wait[1])
            trial.counts[f"{name}: events in hand"] = len(waits)
            ordered = [seconds for _, seconds, _ in waits]
            trial.figures |= {f"{name}: {at}_kill_to_delivered_s": value for at, value in shares(ordered)}
            for kind, seconds, event in waits[-3:]:
                about = f"attempt {event.attempts}, {event.last_error or 'no error'}"
                trial.say(f"{name}: {kind}, after {seconds:.2f} s at {event.delivered_at} {event}: {about}")
        for kind in self.kills:
            of_kind = [seconds for hit, seconds, _ in self.calm.waits() if hit == kind]
            trial.figures[f"single kills: slowest_s, {kind}"] = round(max(of_kind, default=0), 2)
        near, far = trial.size(5.0, quick=60.0), trial.size(20.0, quick=60.0)
        late = [
            (k, seconds, str(event))
            for k, seconds, event in self.calm.waits()
            if seconds > (far if k == MACHINE else near)
        ]
        trial.expect(not late, f"{len(late)} events were delivered late after a single kill: {late[:5]}")
        self.writer.check(trial)
        stores.compare(trial)


def shares(ordered: list[float]) -> list[tuple[str, float]]:
    if not ordered:
        return []
    at = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return [
        (name, round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 2))
        for name, share in at.items()
    ]
