"""Processes of two clusters die at random moments and at named points: nothing is lost, nothing done twice.

Each round writes memories, changes, deletions and turns, and kills something: a worker, the relay, the monitor, the
sentinel, the main process or a whole cluster at a random moment; or the process that next reaches a named point. A few
times a cluster is frozen and its connections are cut, as if its machine were lost. An event that a killed cluster had
claimed must be delivered within 5 s of the last kill that it saw, and within 20 s where the machine was lost.
"""

import time
from collections import Counter

from django.test import override_settings
from django_q.tasks import async_task

from outbox.models import Event, Status
from tests.faults import kill_points, stores
from tests.faults.fleet import Fleet, Hits
from tests.faults.trial import Trial
from tests.faults.writer import Writer
from tests.support.conversations import flush_all
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

# How often each kind is killed. A whole cluster takes seconds to start, so it is killed less often.
RANDOM_KILLS = {"worker": 24, "relay": 12, "monitor": 12, "sentinel": 1, "main": 1, "cluster": 2}
POINT_KILLS = dict.fromkeys(kill_points.POINTS, 8)
FLUSH = {kill_points.AMID_FLUSH, kill_points.AFTER_FLUSH}
# Seconds in which a busy process reaches a point.
REACH_SECONDS = 3.0


def run(trial: Trial) -> None:
    points = trial.folder / "points"
    points.mkdir()
    with RedisServer(trial.folder) as redis:
        buffered = {"CONVERSATION_REDIS_URL": redis.url, "CONVERSATION_REDIS_TIMEOUT_SECONDS": 20.0}
        environment = {
            "DJANGO_SETTINGS_MODULE": "tests.faults.settings",
            kill_points.FOLDER: str(points),
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
        self.hits = Hits()
        self.kills: Counter[str] = Counter()
        self.near, self.far = trial.size(5.0, quick=60.0), trial.size(20.0, quick=60.0)

    def run(self) -> None:
        number = self.trial.size(500, quick=5)
        lost_machines = self.trial.size(5, quick=0)
        while self.kills.total() < number - lost_machines:
            self.round()
            if self.kills.total() % 50 == 0:
                self.trial.say(
                    f"{self.kills.total()} of {number} kills, {stores.open_events().count()} open events"
                )
        for _ in range(lost_machines):
            self.lose_a_machine()
        self.fleet.wait_until_ready()
        flush_all()
        stores.wait_until_drained(self.trial)
        self.report()

    def round(self) -> None:
        self.fleet.tend()
        kinds = RANDOM_KILLS | POINT_KILLS
        [kind] = self.chance.choices(list(kinds), list(kinds.values()))
        if kind in POINT_KILLS:
            self.kill_at(kind)
        else:
            self.writer.write()
            self.kill_at_random(kind)

    def kill_at_random(self, kind: str) -> None:
        time.sleep(self.chance.expovariate(1 / 0.1))
        ready = self.fleet.ready()
        if kind in ("sentinel", "main", "cluster") and len(ready) < self.fleet.size:
            return  # one cluster must live, as the target supposes
        if ready:
            member = self.chance.choice(ready)
            self.hits.note(member, kind, self.near)
            member.kill_a(kind, self.chance)
            self.kills[kind] += 1

    def kill_at(self, point: str) -> None:
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
                self.hits.note(member, point, self.near)

    def lose_a_machine(self) -> None:
        self.fleet.wait_until_ready()
        self.writer.write(scale=10)
        member = self.chance.choice(self.fleet.members)
        self.hits.note(member, "machine", self.far)
        member.cut_off()
        self.kills["machine"] += 1
        wait_until(lambda: not Event.objects.filter(status=Status.CLAIMED, relay__in=member.relays).exists())
        member.thaw()

    def report(self) -> None:
        trial = self.trial
        trial.counts |= {
            "kills": self.kills.total(),
            "events": Event.objects.exclude(delivered_at=None).count(),
        }
        trial.counts |= {f"kills: {kind}": count for kind, count in sorted(self.kills.items())}
        waits = sorted(self.hits.waits(), key=lambda found: found[1])
        trial.counts["events in hand at a kill"] = len(waits)
        if waits:
            trial.figures["p50_kill_to_delivered_s"] = round(waits[len(waits) // 2][1], 2)
            trial.figures["p99_kill_to_delivered_s"] = round(waits[int(len(waits) * 0.99)][1], 2)
        for kind in self.kills:
            of_kind = [seconds for hit, seconds in waits if hit.kind == kind]
            trial.figures[f"slowest_delivery_s: {kind}"] = round(max(of_kind, default=0), 2)
        late = [(hit.kind, round(seconds, 1)) for hit, seconds in waits if seconds > hit.limit]
        trial.expect(not late, f"{len(late)} events were delivered late after a kill, such as {late[-5:]}")
        self.writer.check(trial)
        stores.compare(trial)
