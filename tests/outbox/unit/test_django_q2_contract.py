"""The parts of django-q2 that `outbox.cluster` and `outbox.relay` replace or rely on, one test for each name.

A failure here after an upgrade of django-q2 names the assumption that no longer holds. When all tests pass with a new
version, add it to outbox/cluster/django_q_version.py.
"""

import ast
import inspect
import multiprocessing
import re
import textwrap
import time
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import django_q
import pytest
from django.db.models.signals import post_save
from django.dispatch import Signal
from django.utils import timezone
from django_q import cluster, monitor, pusher, scheduler, signals, signing, timeout, worker
from django_q.brokers import get_broker
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.models import OrmQ

from outbox.cluster import allowed_tasks, django_q_version, guard, heartbeat, ipc, shutdown, workers
from outbox.relay.broker import OutboxBroker

# A broker asks for its connection when it is created.
pytestmark = pytest.mark.django_db


def source_of(part: Any) -> ast.Module:
    return ast.parse(textwrap.dedent(inspect.getsource(part)))


def used_of(part: Any, *names: str) -> set[str]:
    """The attributes that the code of `part` uses of these variables or attributes."""
    return {
        node.attr
        for node in ast.walk(source_of(part))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in names
    }


def parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_the_installed_version_is_a_tested_one() -> None:
    assert django_q_version.is_tested(), django_q.VERSION


# --- Replaced names ---------------------------------------------------------------------------------------


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ipc.install`, undone after the test."""
    for module, name in (
        (cluster, "Queue"),
        (cluster, "Value"),
        (cluster, "Event"),
        (pusher, "SignedPackage"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))
    ipc.install()


@pytest.mark.usefixtures("installed")
def test_the_sentinel_creates_its_queues_from_cluster_queue() -> None:
    sentinel = cluster.Sentinel(None, None, None, broker=ORM("test"), start=False)

    assert isinstance(sentinel.task_queue, ipc.Queue)
    assert isinstance(sentinel.result_queue, ipc.Queue)


def test_our_queue_has_every_method_that_django_q2_calls() -> None:
    called = (
        used_of(cluster.Sentinel, "self.task_queue", "self.result_queue")
        | used_of(worker.worker, "task_queue", "result_queue")
        | used_of(pusher.pusher, "task_queue")
        | used_of(monitor.monitor, "result_queue")
    )

    assert {"put", "get", "empty", "close", "join_thread"} <= called
    assert called <= set(dir(ipc.Queue))


def test_a_worker_and_the_monitor_end_at_the_word_stop() -> None:
    for function in (worker.worker, monitor.monitor):
        assert re.search(r"iter\((task|result)_queue\.get, \"STOP\"\)", inspect.getsource(function))


@pytest.mark.usefixtures("installed")
def test_the_sentinel_gives_each_worker_a_timer_from_cluster_value(monkeypatch: pytest.MonkeyPatch) -> None:
    sentinel = cluster.Sentinel(None, None, None, broker=ORM("test"), start=False)
    spawned: list[Any] = []
    monkeypatch.setattr(sentinel, "spawn_process", lambda *args: spawned.extend(args))

    sentinel.spawn_worker()

    assert spawned[:3] == [worker.worker, sentinel.task_queue, sentinel.result_queue]
    assert isinstance(spawned[3], ipc.SharedTimer)
    assert spawned[3].value == -1


def test_our_timer_has_everything_that_django_q2_uses_of_one() -> None:
    used = used_of(cluster.Sentinel, "p.timer", "process.timer") | used_of(worker.worker, "timer")

    assert used == {"value", "get_lock"}
    assert used <= set(dir(ipc.SharedTimer))


def test_the_sentinel_notes_how_a_worker_ended_before_it_replaces_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "if not p.is_alive()" in inspect.getsource(cluster.Sentinel.guard)
    replaced: list[Any] = []
    monkeypatch.setattr(cluster.Sentinel, "reincarnate", lambda self, process: replaced.append(process))
    monkeypatch.setattr(workers, "_shared", None)
    workers.share()
    dead = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    dead.start()
    dead.kill()
    dead.join()

    cluster.Sentinel(None, None, None, broker=ORM("test"), start=False).reincarnate(dead)

    assert replaced == [dead]
    known = workers.shared()
    assert known
    assert known.how_it_ended(dead.pid or 0) == "was killed (signal 9)"


def test_the_loop_of_the_sentinel_waits_for_its_stop_event_between_two_looks() -> None:
    """`guard.install` puts a `Guard` in its place."""
    source = inspect.getsource(cluster.Sentinel.guard)
    assert "if self.stop_event.wait(cycle):\n                break" in source
    assert "self.spawn_cluster()\n        self.guard()" in inspect.getsource(cluster.Sentinel.start)
    assert used_of(cluster.Sentinel, "self.stop_event") == {"wait", "is_set"} <= set(dir(guard.Guard))
    assert {"pool_size", "pool", "monitor", "pusher"} <= used_of(cluster.Sentinel, "self")


def test_a_worker_says_that_it_is_spawned_and_names_each_task() -> None:
    source = inspect.getsource(worker.worker)
    assert source.index("post_spawn.send(") < source.index("task_queue.get")
    assert 'task["name"]' in source


@pytest.mark.usefixtures("installed")
def test_the_sentinel_stops_the_pusher_by_an_event_from_cluster_event() -> None:
    sentinel = cluster.Sentinel(None, None, None, broker=ORM("test"), start=False)

    assert isinstance(sentinel.event_out, ipc.SharedFlag)


def test_our_flag_has_everything_that_django_q2_uses_of_one() -> None:
    used = used_of(cluster.Sentinel, "self.event_out") | used_of(pusher.pusher, "event")

    assert used == {"set", "is_set"}
    assert used <= set(dir(ipc.SharedFlag))


@pytest.mark.usefixtures("installed")
def test_the_pusher_opens_packages_with_pusher_signed_package() -> None:
    """It passes a task of the relay, which is a dict, to the workers unchanged, and adds two keys."""
    task = {"id": "1", "name": "one", "func": print, "args": (), "kwargs": {}}
    queue = ipc.Queue(maxsize=1)
    stop = ipc.SharedFlag()
    stop.set()

    class Broker:
        list_key = "test"

        def dequeue(self) -> list[Any]:
            return [(None, task)]

    pusher.pusher(queue, stop, Broker())

    assert queue.get() == {**task, "cluster": Conf.CLUSTER_NAME, "ack_id": None}


def test_the_pusher_refuses_a_package_by_the_errors_that_our_loads_raises() -> None:
    with pytest.raises(signing.BadSignature):
        ipc.Packages.loads("not signed")

    assert "except (TypeError, BadSignature)" in inspect.getsource(pusher.pusher)


def test_the_worker_takes_its_tasks_by_get_alone() -> None:
    """`allowed_tasks.GuardedQueue` has no other method."""
    assert used_of(worker.worker, "task_queue") == {"get"}


def test_a_cluster_and_a_task_with_sync_run_the_guarded_worker() -> None:
    """`allowed_tasks.install` replaces both names when the apps load."""
    assert cluster.worker is worker.worker
    assert inspect.unwrap(worker.worker) is not worker.worker
    assert "worker, self.task_queue" in inspect.getsource(cluster.Sentinel.spawn_worker)
    assert "from django_q.worker import worker" in inspect.getsource(django_q.tasks._sync)  # noqa: SLF001


def test_hooks_run_when_a_task_is_saved_and_only_through_our_receiver() -> None:
    receivers = [receiver() for (_, _), receiver, *_ in post_save.receivers]

    assert parameters(signals.call_hook) == ["sender", "instance", "kwargs"]
    assert signals.call_hook not in receivers
    assert allowed_tasks._call_allowed_hook in receivers  # noqa: SLF001


def test_the_sentinel_starts_the_monitor_by_its_name_with_the_broker_and_ends_it_last() -> None:
    """`heartbeat.install` replaces `cluster.monitor`: the relay's heartbeat comes from the monitor."""
    assert "spawn_process(monitor, self.result_queue, self.broker)" in inspect.getsource(
        cluster.Sentinel.spawn_monitor
    )
    stop = inspect.getsource(cluster.Sentinel.stop)
    assert stop.index("self.event_out.set()") < stop.index('self.task_queue.put("STOP")')
    assert stop.index("while len(self.pool)") < stop.index('self.result_queue.put("STOP")')


def test_the_monitor_beats_for_the_relay_of_its_broker_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []

    class Heartbeat:
        def __init__(self, relay: Any, on_beat: Any) -> None:
            said.append(relay)

        def start(self) -> None:
            said.append("start")

        def stop(self) -> None:
            said.append("stop")

    monkeypatch.setattr(cluster, "monitor", lambda queue, broker: said.append(queue.get()))
    monkeypatch.setattr(heartbeat, "Heartbeat", Heartbeat)
    heartbeat.install()
    results = ipc.Queue()
    results.put("a result")
    broker = OutboxBroker("test")

    cluster.monitor(results, broker)

    assert said == [broker.id, "start", "a result", "stop"]


def test_every_replaced_name_exists() -> None:
    for module, name in (
        (cluster, "Queue"),
        (cluster, "Value"),
        (cluster, "Event"),
        (pusher, "SignedPackage"),
    ):
        assert hasattr(module, name), f"{module.__name__}.{name}"


# --- The sentinel's arguments, and the event among them -----------------------------------------------------


def test_a_cluster_starts_its_sentinel_with_the_stop_event_first(monkeypatch: pytest.MonkeyPatch) -> None:
    started: dict[str, Any] = {}

    class Process:
        def __init__(self, **arguments: Any) -> None:
            started.update(arguments)

        def start(self) -> None:
            started["args"][1].set()  # the start event, for which start() waits

    monkeypatch.setattr(cluster, "get_mp_context", lambda: type("Context", (), {"Process": Process}))
    monkeypatch.setattr(cluster.signal, "signal", lambda *_: None)
    running = cluster.Cluster()

    running.start()

    assert started["target"] is cluster.Sentinel
    assert started["args"][0] is running.stop_event
    assert isinstance(running.stop_event, multiprocessing.synchronize.Event)
    assert parameters(cluster.Sentinel)[:5] == [
        "stop_event",
        "start_event",
        "cluster_id",
        "broker",
        "timeout",
    ]


def test_the_sentinel_creates_its_broker_before_its_queues() -> None:
    """`OutboxBroker.__init__` replaces the names, so it must run first."""
    lines = inspect.getsource(cluster.Sentinel.__init__)

    assert lines.index("get_broker()") < lines.index("Queue(") < lines.index("Event()")


def test_a_process_keeps_its_target_and_arguments() -> None:
    process = multiprocessing.Process(target=print, args=(1,))

    assert process._target is print  # type: ignore[attr-defined]  # noqa: SLF001
    assert process._args == (1,)  # type: ignore[attr-defined]  # noqa: SLF001


def test_the_flag_of_an_event_is_a_semaphore_that_can_be_read_without_its_lock() -> None:
    event = multiprocessing.Event()
    assert event._flag._semlock._is_zero()  # type: ignore[attr-defined]  # noqa: SLF001
    event.set()

    with event._cond:  # type: ignore[attr-defined]  # noqa: SLF001 - as a killed process would leave it
        assert not event._flag._semlock._is_zero()  # type: ignore[attr-defined]  # noqa: SLF001


def test_is_stopping_reads_the_stop_event(monkeypatch: pytest.MonkeyPatch) -> None:
    event = multiprocessing.Event()
    monkeypatch.setattr(shutdown, "_stop", event)
    assert not shutdown.is_stopping()

    event.set()

    assert shutdown.is_stopping()


# --- The worker ---------------------------------------------------------------------------------------------


def test_the_worker_the_pusher_and_the_monitor_take_these_arguments() -> None:
    assert parameters(worker.worker) == ["task_queue", "result_queue", "timer", "timeout"]
    assert parameters(pusher.pusher) == ["task_queue", "event", "broker"]
    assert parameters(monitor.monitor) == ["result_queue", "broker"]


ran: list[Any] = []


def note(word: str) -> str:
    ran.append(word)
    return word.upper()


def run_in_a_worker(**task: Any) -> dict[str, Any]:
    """Run one task in django-q2's worker, in this process. Returns its result, as the monitor gets it."""
    ran.clear()
    tasks, results = ipc.Queue(), ipc.Queue()
    tasks.put({"id": "1", "name": "one", "args": ("a",), "kwargs": {}, "sync": True, **task})
    tasks.put("STOP")
    inspect.unwrap(worker.worker)(tasks, results, ipc.SharedTimer("f", -1), timeout=10)
    result: dict[str, Any] = results.get()
    return result


@pytest.fixture
def received() -> Iterator[list[tuple[Signal, dict[str, Any]]]]:
    seen: list[tuple[Signal, dict[str, Any]]] = []

    def receive(signal: Signal, sender: Any, **arguments: Any) -> None:
        seen.append((signal, arguments))

    sent = (signals.pre_execute, signals.post_execute_in_worker)
    for signal in sent:
        signal.connect(receive)
    yield seen
    for signal in sent:
        signal.disconnect(receive)


def test_a_worker_calls_the_function_of_a_task_and_puts_its_result() -> None:
    result = run_in_a_worker(func=note)

    assert ran == ["a"]
    assert (result["result"], result["success"]) == ("A", True)
    assert result["func"] is note


def test_a_worker_sends_signals_before_and_after_a_task_with_its_function(received: list[Any]) -> None:
    """`relay.tasks` removes the events from the task in the second one, before the result is put."""
    run_in_a_worker(func=note)

    (before, first), (after, second) = received
    assert (before, after) == (signals.pre_execute, signals.post_execute_in_worker)
    assert first["func"] is second["func"] is note
    assert first["task"] is second["task"]
    lines = inspect.getsource(worker.worker)
    assert lines.index("post_execute_in_worker.send(", lines.index('task["stopped"]')) < lines.index(
        "result_queue.put("
    )


def test_the_timeout_of_a_task_is_no_exception_that_a_handler_catches() -> None:
    """A handler's `except Exception` must not swallow it."""
    assert not issubclass(timeout.TimeoutException, Exception)
    assert issubclass(timeout.TimeoutException, SystemExit)


def test_the_monitor_saves_no_success_of_a_task_that_says_so() -> None:
    """The relay's tasks have no id to acknowledge and say `save: False`."""
    monitor.save_task({"save": False, "success": True}, broker=None)

    assert 'ack_id = task.pop("ack_id", False)\n        if ack_id and' in inspect.getsource(monitor.monitor)


# --- The broker ---------------------------------------------------------------------------------------------


def test_our_broker_has_every_method_that_django_q2_calls_of_one() -> None:
    called = (
        used_of(cluster.Sentinel, "self.broker")
        | used_of(pusher.pusher, "broker")
        | used_of(monitor, "broker")
        | used_of(scheduler, "broker")
    )

    assert {"dequeue", "acknowledge", "fail", "ping", "list_key"} <= called
    broker = OutboxBroker("test")
    assert [name for name in called if not hasattr(broker, name)] == []


def test_our_broker_overrides_methods_of_the_orm_broker() -> None:
    overridden = {name for name, value in vars(OutboxBroker).items() if isinstance(value, FunctionType)}

    assert {"enqueue", "dequeue", "ping", "info"} <= overridden
    for name in ("enqueue", "dequeue", "ping", "info"):
        assert parameters(getattr(ORM, name)) == parameters(getattr(OutboxBroker, name))


def test_the_orm_broker_returns_the_id_and_package_of_queued_tasks() -> None:
    broker = ORM("test")
    OrmQ.objects.create(key="test", payload="package", lock=timezone.now())
    [row] = broker.get_connection().filter(key="test", lock__lt=timezone.now())

    assert broker.dequeue() == [(row.pk, "package")]

    row.refresh_from_db()
    assert row.lock > timezone.now()
    broker.acknowledge(row.pk)
    assert not OrmQ.objects.exists()


def test_the_orm_broker_queues_a_package_and_returns_its_id() -> None:
    pk = ORM("test").enqueue("package")

    assert OrmQ.objects.get(pk=pk).payload == "package"


def test_get_broker_returns_an_instance_of_broker_class() -> None:
    assert isinstance(get_broker(), OutboxBroker)


def test_conf_has_every_setting_that_we_read() -> None:
    assert Conf.BROKER_CLASS == "outbox.relay.broker.OutboxBroker"
    for name in ("WORKERS", "QUEUE_LIMIT", "TIMEOUT", "RETRY", "CLUSTER_NAME", "ORM"):
        assert hasattr(Conf, name), name
