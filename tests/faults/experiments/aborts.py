"""Whatever statement or COMMIT of a service function is its last, a change is stored with its event, or neither is.

Each function runs once undisturbed, and each of its COMMITs leaves a state of the database. Then it runs again for each
statement and COMMIT, and PostgreSQL ends its session there: before it, or after it was carried out and before the
answer. The database must be as before, or in one of these states. Where a client may repeat the call, the repetition
must lead to the last of them.
"""

from collections import Counter

from django.db import InterfaceError, OperationalError, connection

from tests.faults.service_calls import FORGETTING, IN_PARTS, REPEATABLE, SERVICE_CALLS
from tests.faults.trial import Trial
from tests.support.aborts import Observer, State, Steps
from tests.support.emptying import empty_the_tables

# Versions of memories without the event that tells of them, and events without their version.
UNTOLD = """
SELECT v.pgh_label, v.pgh_obj_id, v.version, e.type FROM memory_versions v
FULL JOIN (SELECT * FROM outbox_event WHERE type IN ('memory_log.stored', 'memory_log.updated', 'memory_log.deleted'))
    AS e ON e.aggregatetype = 'memory_log' AND e.aggregateid = v.pgh_obj_id::text
    AND (e.payload ->> 'version')::int = v.version
    AND e.type = 'memory_log.' || CASE v.pgh_label WHEN 'created' THEN 'stored' ELSE v.pgh_label END
WHERE v.pgh_id IS NULL OR e.id IS NULL
"""


# A function, the number of a moment in it, and the states that may be left then.
Moment = tuple[str, int, list[State]]


def run(trial: Trial) -> None:
    observer = Observer()
    names = trial.chance.sample(list(SERVICE_CALLS), trial.size(len(SERVICE_CALLS), quick=10))
    trial.counts |= {"functions": len(names), "aborts": 0}
    try:
        moments = [moment for name in names for moment in _undisturbed(trial, observer, name)]
        for moment in trial.chance.sample(moments, trial.size(len(moments), quick=15)):
            _abort(trial, observer, *moment)
    finally:
        empty_the_tables(None)
        observer.session.close()


def _undisturbed(trial: Trial, observer: Observer, name: str) -> list[Moment]:
    """The moments of a function at which it can be aborted."""
    observer.empty()
    act = SERVICE_CALLS[name]()
    steps = Steps(observer)
    before = observer.state()
    with steps.watch():
        act()
    _expect_told(trial, observer, name, "undisturbed")
    states = len({before, *steps.states}) - 1
    trial.expect(states == 1 or name in IN_PARTS, f"{name} leaves {states} states, one after the other")
    return [(name, number, [before, *steps.states]) for number in range(1, steps.count + 1)]


def _abort(trial: Trial, observer: Observer, name: str, number: int, states: list[State]) -> None:
    observer.empty()
    act = SERVICE_CALLS[name]()
    steps = Steps(observer, end_at=number)
    try:
        with steps.watch():
            act()
    except (OperationalError, InterfaceError):
        pass
    connection.close()
    trial.counts["aborts"] += 1
    left = observer.state()
    trial.expect(left in states, f"{name}, {steps.ended_at}: {_difference(left, states)}")
    _expect_told(trial, observer, name, steps.ended_at)
    if name in REPEATABLE:
        act()
        trial.expect(
            observer.state() == states[-1],
            f"{name}, {steps.ended_at}, repeated: {_difference(observer.state(), states[-1:])}",
        )
        _expect_told(trial, observer, name, f"{steps.ended_at}, repeated")


def _expect_told(trial: Trial, observer: Observer, name: str, when: str) -> None:
    untold = [] if name in FORGETTING else observer.session.execute(UNTOLD).fetchall()
    trial.expect(not untold, f"{name}, {when}: a version without its event, or the reverse: {untold}")


def _difference(left: State, states: list[State]) -> str:
    """The rows that the nearest state has not, and those that only it has."""
    nearest = min(
        map(Counter, states), key=lambda state: ((Counter(left) - state) + (state - Counter(left))).total()
    )
    return f"too many: {[*(Counter(left) - nearest)]}; missing: {[*(nearest - Counter(left))]}"
