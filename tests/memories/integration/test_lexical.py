"""The lexical ranking, on real Postgres; no embedding and no index is needed for it."""

from datetime import date

import pytest
from django.db import connection
from django.utils import timezone

from memories.filters import Filters
from memories.models import MemoryLog
from memories.records.services import NewMemory, create_memories
from memories.search.lexical import lexical_search, ranking
from memories.tenants import Tenant
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db


def remember(tenant: Tenant, *tasks: str, **fields: object) -> list[MemoryLog]:
    given = {"agent": "ann", "date": date(2024, 5, 8), **fields}
    return create_memories(
        NewMemory(user_id=tenant.user_id, project_id=tenant.project_id, task=task, **given)  # type: ignore[arg-type]
        for task in tasks
    )


def found(tenant: Tenant, query: str, limit: int = 10, **filters: object) -> list[int]:
    return [item.memory_id for item in lexical_search(tenant, query, limit, Filters(**filters))]  # type: ignore[arg-type]


def test_a_rare_word_weighs_more_than_common_ones() -> None:
    tenant = new_tenant()
    remember(tenant, *(f"Deploy the billing service, attempt {number}" for number in range(20)))
    (rare,) = remember(tenant, "Rotate the certificate")

    assert found(tenant, "deploy the billing service with the new certificate")[0] == rare.id


def test_more_of_the_words_and_fewer_others_come_first() -> None:
    tenant = new_tenant()
    one, both, long = remember(
        tenant,
        "Fix the login",
        "Fix the login redirect",
        "Fix the login redirect of " + "some other words " * 30,
    )

    assert found(tenant, "login redirect") == [both.id, long.id, one.id]


def test_of_equals_the_newer_comes_first() -> None:
    tenant = new_tenant()
    older, newer = remember(tenant, "Fix the login", "Fix the login")

    assert found(tenant, "login") == [newer.id, older.id]


def test_inflected_words_meet() -> None:
    tenant = new_tenant()
    (row,) = remember(tenant, "Painting the kitchens")

    assert found(tenant, "who painted a kitchen?") == [row.id]


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Das Café in der Straße", "cafe STRASSE straße"),
        ("Обновили СЕРВЕР базы", "сервер"),
        ("東京都に行きました", "東京"),
        ("ﬁle Ｆｕｌｌ", "file full"),
        ("error in src/app/user_login.py", "user login"),
        ("see https://docs.example.com/retry-policy?x=1", "retry policy"),
        ("timed out at 2024-05-09T10:00", "2024-05-09"),
        ("KeyError: 'price_eur' <cart>", "cart price"),
        ("release v2.13.0", "v2.13.0"),
        ("Sie wohnt in der LANGEN STRASSE", "straße"),
        ("Gateway said «busy» three times", "busy"),
        ("Rollout—paused until Monday", "paused"),
        ("It’s the tenant’s choice", "tenant"),
        ("ระบบชำระเงินล้มเหลวเพราะหมดเวลา", "ชำระเงิน"),
        ("数据库连接池耗尽导致请求全部卡住", "连接池"),
        ("小猫在睡觉", "猫"),
        ("サーバーが停止した", "サーバー"),
        ("ប្រព័ន្ធទូទាត់បរាជ័យ", "ទូទាត់"),
        ("the parser is parseISODate", "iso date"),
        ("the parser is parseISODate", "PARSEISODATE"),
        ("broken: src/userLogin.py", "user login"),
        ("the timeout is 500ms", "500 ms"),
        ("Standup", "May 8th"),
        ("Standup", "8 Mai 2024 / 08.05.2024"),
        ("Die Rechnungen werden nachts exportiert", "Rechnung"),
        ("Die Häuser am See wurden verkauft", "Haus"),
        ("Les factures sont exportées pendant la nuit", "facture exporter"),
        ("La información de los clientes no es correcta", "informaciones de cliente"),
        ("La información de los clientes no es correcta", "informacion"),
        ("Le fatture sono state inviate ai clienti", "fattura al cliente"),
        ("As faturas foram enviadas para os clientes", "fatura do cliente"),
        ("De facturen worden aan de klanten gestuurd", "factuur"),
        ("Fakturorna skickades till kunderna och betalades", "faktura kund"),
        ("Обновили серверы базы данных после сбоя", "сбой сервера"),
        ("Οι διακομιστές ενημερώθηκαν μετά από τη διακοπή", "διακομιστής"),
        ("تم تحديث الخوادم بعد العطل", "عطل"),
        ("서버가 장애로 멈췄다", "서버 장애"),
        ("the parser is parse_iso_date", "parse iso date"),
        ("the parser is parseISODate", "ParseIsoDate parse_iso_date"),
        ("sent an e-mail", "email"),
        ("see src/app/main.py there", "main.py"),
        ("IT owns the budget", "it"),
        ("The band The Who played", "the who"),
        ("We asked the WHO for advice", "what does the WHO say?"),
        ("Painted the red door of the van", "red door"),
        ("Painted the red door of the van", "door"),
        ("Sold a hat to an old man", "old man"),
        ("Her son started school", "son"),
        ("Bu Işıklar kapandı ve", "ışık"),
        ("Işık kapandı", "isik"),
        ("We met in Łódź with Ørsted", "lodz orsted"),
        ("Wi-Fi接続が切れる", "wifi"),
        ("iPhone16の画面が割れた", "iphone"),
        ("เปลี่ยนRedisเป็นValkey", "valkey"),
        ("Redis를 재시작했다", "redis"),
        ("libssl1.1 was replaced", "libssl"),
        ("Moved to Python 3.11", "python3.11"),
        ("1,000,000 rows were copied", "1000000"),
        ("failed with 0x80070057", "80070057"),
        ("the contract with AT&T", "AT&T"),
    ],
)
def test_words_meet_however_they_are_written(text: str, query: str) -> None:
    tenant = new_tenant()
    row, _ = remember(tenant, text, "something else")

    assert found(tenant, query)[:1] == [row.id]


@pytest.mark.parametrize(
    "query",
    [
        "8 May",
        "May 8th",
        "the 8th of May, 2024",
        "08.05.2024",
        "8.5.2024",
        "2024-05-08",
        "2024/5/8",
        "am 8. Mai",
        "le 8 mai 2024",
        "el 8 de mayo de 2024",
        "8 maggio",
        "8 мая 2024",
        "2024年5月8日",
        "5월 8일",
        "May 2024",
        "20240508",
    ],
)
def test_a_date_in_words_finds_the_memories_of_that_day_first(query: str) -> None:
    tenant = new_tenant()
    remember(tenant, "Standup of 2024 in May", "Standup 8", date=date(2023, 4, 7))
    (row,) = remember(tenant, "Standup")

    assert found(tenant, query)[0] == row.id


def test_the_rarest_words_of_a_long_question_count_wherever_they_stand() -> None:
    tenant = new_tenant()
    common = [f"word{number}" for number in range(100)]
    remember(tenant, *(" ".join(common) for _ in range(20)))
    (row,) = remember(tenant, "Rotate the sprocket")
    question = " ".join([*common, *(f"unknown{number}" for number in range(700)), "sprocket"])

    assert row.id in found(tenant, question, limit=50)


def test_words_that_are_grammar_in_the_question_match_no_other_language() -> None:
    tenant = new_tenant()
    (wanted,) = remember(tenant, "The invoice was paid by the customer in October")
    remember(
        tenant, "Das Lied heißt 'What is the matter' und ist nicht von uns", "Die Miete ist nicht bezahlt"
    )

    assert found(tenant, "what was the invoice for?") == [wanted.id]


@pytest.mark.parametrize(
    ("query", "wanted", "others"),
    [
        ("get_user_by_id", "get_user_by_id was renamed and moved", ["get the id of a user", "by id, user"]),
        ("max_retry_count", "max_retry_count is 5", ["the max count of a retry", "count the max of a retry"]),
        ("10.0.12.5", "host 10.0.12.5 is down", ["host 10.0.5.12 is up", "host 12.5.10.0 is new"]),
        ("v2.10.1", "shipped v2.10.1 of the client", ["shipped v2.1.10", "shipped v1.10.2"]),
        ("2.10.1", "shipped v2.10.1 of the client", ["shipped v2.1.10", "shipped v1.10.2"]),
        ("2.10.1", "shipped v2.10.1 of the client", ["shipped 10.2.1", "shipped 1.2.10"]),
        ("max_retry_count", "max-retry-count is 5", ["the max count of a retry", "count the max of a retry"]),
        ("maxRetryCount", "max-retry-count is 5", ["the max count of a retry", "count the max of a retry"]),
        ("250 µs", "p99 is 250µs", ["250 readers waited", "some µs for 25 readers"]),
        ("user account id", "userAccountId is null", ["the account id of a user", "id, user, account"]),
        ("src/app/main.py", "see src/app/main.py there", ["main app, py src", "app/src/main.py"]),
        (
            "InvoiceService",
            "see billing/invoice_service.py",
            ["the service/invoice/billing.py", "invoice a service"],
        ),
        (
            "invoice_service",
            "see InvoiceService.java",
            ["the service/invoice/billing.py", "invoice a service"],
        ),
        ("C++", "the C++ build fails", ["the C build", "the C# build"]),
        ("C#", "the C# build fails", ["the C build", "the C++ build"]),
        ("0x80070005", "failed with 0x80070005 again", ["failed with 0x80240017", "80070005 rows"]),
        ("数据库", "数据库连接失败", ["库数据连接失败", "数一数据点和仓库"]),
    ],
)
def test_an_exact_whole_comes_before_its_parts_in_another_order(
    query: str, wanted: str, others: list[str]
) -> None:
    tenant = new_tenant()
    (row,) = remember(tenant, wanted)
    remember(tenant, *others)

    assert found(tenant, query)[0] == row.id


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Shipped the onboarding wizard", "onbording wizzard"),
        ("Shipped the onboarding wizard", "onbaording"),
        ("Restarted the authentication service", "athentication"),
        ("Upgraded Kubernetes", "kuberntes"),
        ("Postgres was slow", "postgers"),
        ("Der Drucker ist kaputt", "Druker"),
        ("Die Datenbankverbindung wurde getrennt", "Datenbankverbindnug"),
        ("Принтер сломался", "принетр"),
        ("Deployed to Zürich", "Zurihc"),
    ],
)
def test_a_misspelled_word_that_no_memory_has_finds_the_nearest(text: str, query: str) -> None:
    tenant = new_tenant()
    row, *_ = remember(tenant, text, "Wizards of the coast", "The print of a post", "Boarding pass")

    assert found(tenant, query)[:1] == [row.id]


def test_a_misspelled_word_finds_a_memory_that_was_written_since_the_last_one() -> None:
    tenant = new_tenant()
    remember(tenant, "Bake bread")
    assert found(tenant, "kuberntes") == []

    (row,) = remember(tenant, "Upgraded Kubernetes")

    assert found(tenant, "kuberntes") == [row.id]


def test_a_word_of_the_memories_is_not_taken_for_another_one() -> None:
    tenant = new_tenant()
    post, _ = remember(tenant, "The poster is new", "The posted letter")

    assert found(tenant, "poster") == [post.id]
    assert found(tenant, "employs") == []


@pytest.mark.parametrize(
    "query", ["sprocket", "bob", "8 May", "2024-05-08", "nested", "404", "colour", "blue", "retry count"]
)
def test_every_part_of_a_memory_is_searched(query: str) -> None:
    tenant = new_tenant()
    raw = {
        "a": {"b": ["deep", {"c": "nested sprocket"}]},
        "status": 404,
        "colour": ["blue"],
        "retry_count": 3,
    }
    (row,) = remember(tenant, "Assemble", agent="bob", raw_data=raw)

    assert found(tenant, query) == [row.id]


@pytest.mark.parametrize("query", ["", " ", "the of and", "?!", "\x01", "🙂", "unknownword"])
def test_a_question_without_known_words_finds_nothing(query: str) -> None:
    tenant = new_tenant()
    remember(tenant, "Fix the login")

    assert found(tenant, query) == []


@pytest.mark.parametrize(
    "query",
    ["login' OR 1=1 --", "login & !(redirect", "login:*", "%(user_id)s login {allowed}", "a\\' login %s"],
)
def test_a_question_is_words_and_never_syntax(query: str) -> None:
    tenant = new_tenant()
    row, _ = remember(tenant, "Fix the login", "Bake bread")

    assert found(tenant, query) == [row.id]


def test_tenants_find_only_their_own() -> None:
    tenant, other_project = new_tenant(), Tenant("user", "project-b")
    (mine,) = remember(tenant, "Fix the login")
    remember(new_tenant(), "Fix the login")
    remember(other_project, "Fix the login")

    assert found(tenant, "login") == [mine.id]
    assert found(Tenant("userproject", "-b"), "login") == []


@pytest.fixture
def colliding_keys() -> None:
    """Equal words of different tenants have equal keys, as if a tenant had found collisions."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE OR REPLACE FUNCTION memory_term_key(seed bigint, lexeme text) RETURNS bigint "
            "LANGUAGE sql IMMUTABLE AS 'SELECT hashtextextended(lexeme, 0)'"
        )


@pytest.mark.usefixtures("colliding_keys")
def test_two_tenants_whose_terms_collide_are_told_apart() -> None:
    tenant, other = new_tenant(), new_tenant()
    (mine,) = remember(tenant, "Fix the login")
    remember(other, "Fix the login", "Login")

    assert found(tenant, "login") == [mine.id]


HOSTILE = """
INSERT INTO memory_logs (user_id, project_id, task, agent, date, raw_data, version, content_hash, embedding_model,
                         embedded_hash)
SELECT %s, %s, 'Rotate certificate login redirect common words', 'ann', '2024-05-08', '{}', 1, '', '', ''
FROM generate_series(1, %s)
"""


@pytest.mark.usefixtures("colliding_keys")
@pytest.mark.parametrize("filters", [{}, {"agent": "ann"}])
def test_a_hostile_neighbour_changes_no_result_and_no_score(
    filters: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "ENOUGH", 20)
    monkeypatch.setattr(ranking, "MAX_CANDIDATES", 50)
    monkeypatch.setattr(ranking, "FINALISTS", 20)
    tenant, neighbour = new_tenant(), new_tenant()
    remember(tenant, "Rotate the certificate", "Fix the login redirect", "Fix the login")
    remember(tenant, *(f"Common words {number}" for number in range(60)))
    queries = (
        "rotate certificate",
        "login redirect",
        "login",
        "common words",
        "common certificate 7",
        "absent",
    )

    def answers() -> list[list[ranking.Ranked]]:
        return [lexical_search(tenant, query, 10, Filters(**filters)) for query in queries]  # type: ignore[arg-type]

    before = answers()
    with connection.cursor() as cursor:
        cursor.execute(HOSTILE, [*neighbour, 3_000])

    assert answers() == before
    assert before[0]
    assert not before[-1]


def test_keys_differ_between_tenants_and_between_installations() -> None:
    def keys() -> list[int]:
        tenants = (("ann", "x"), ("ann", "y"), ("bob", "x"))
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT memory_term_key(memory_term_seed(secret, user_id, project_id), 'login') "
                "FROM memory_terms_secret, unnest(%s::text[], %s::text[]) AS t (user_id, project_id)",
                [[user for user, _ in tenants], [project for _, project in tenants]],
            )
            return [key for (key,) in cursor.fetchall()]

    here = keys()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE memory_terms_secret SET secret = secret + 1")
    elsewhere = keys()

    assert len({*here, *elsewhere}) == 6
    assert any(abs(key) > 2**32 for key in here)


def test_a_change_is_found_at_once_and_the_old_words_are_not() -> None:
    tenant = new_tenant()
    (row,) = remember(tenant, "Fix the login")

    MemoryLog.objects.filter(id=row.id).update(task="Bake bread", version=2)

    assert found(tenant, "login") == []
    assert found(tenant, "bread") == [row.id]


def test_expired_memories_leave_no_gap_in_the_answer() -> None:
    tenant = new_tenant()
    (kept,) = remember(tenant, "Fix the login of the shop")
    gone = remember(tenant, *["Fix the login"] * 5)
    MemoryLog.objects.filter(id__in=[row.id for row in gone]).update(expires_at=timezone.now())

    assert found(tenant, "login", limit=1) == [kept.id]
    assert found(tenant, "login", limit=1, agent="ann") == [kept.id]


def test_a_deleted_memory_is_not_found() -> None:
    tenant = new_tenant()
    gone, kept = remember(tenant, "Fix the login", "Fix the login page")

    MemoryLog.objects.filter(id=gone.id).delete()

    assert found(tenant, "login") == [kept.id]


EQUAL_TERMS = """
SELECT (SELECT array_agg((memory_id, user_id, project_id, expires_at, length, keys, counts) ORDER BY memory_id)
        FROM memory_terms)
    = (SELECT array_agg((m.id, m.user_id, m.project_id, m.expires_at, t.length, t.keys, t.counts) ORDER BY m.id)
       FROM memory_logs AS m, memory_terms_secret AS s,
            memory_terms_of(memory_term_seed(s.secret, user_id, project_id), task, agent, date, raw_data) AS t)
"""


def test_every_way_of_writing_leaves_the_terms_of_the_rows_and_no_others() -> None:
    tenant = new_tenant()
    rows = remember(tenant, *(f"Fix login {number}" for number in range(500)))
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO memory_logs (user_id, project_id, task, agent, date, raw_data, version, content_hash,"
            " embedding_model, embedded_hash) SELECT user_id, project_id, 'Copied', agent, date, raw_data, 1, '',"
            " '', '' FROM memory_logs"
        )
        cursor.execute("UPDATE memory_logs SET task = 'Changed' WHERE id % 2 = 0")
        cursor.execute("UPDATE memory_logs SET user_id = 'moved' WHERE id % 5 = 0")
        cursor.execute("UPDATE memory_logs SET expires_at = now() + interval '1 day' WHERE id % 7 = 0")
        cursor.execute("DELETE FROM memory_logs WHERE id % 3 = 0")
        cursor.execute(EQUAL_TERMS)
        assert cursor.fetchone() == (True,)
        cursor.execute(
            "SELECT count(*), count(*) FILTER (WHERE m.id IS NULL) FROM memory_terms_sample AS s "
            "LEFT JOIN memory_terms AS t USING (memory_id) LEFT JOIN memory_logs AS m ON m.id = memory_id "
            "AND s.key = ANY (t.keys)"
        )
        sampled, orphaned = cursor.fetchone()
        assert sampled > 0  # each of about 600 memories with a chance of 1 in 32
        assert orphaned == 0
        cursor.execute("TRUNCATE memory_logs CASCADE")
        cursor.execute(
            "SELECT (SELECT count(*) FROM memory_terms), (SELECT count(*) FROM memory_terms_sample)"
        )
        assert cursor.fetchone() == (0, 0)
    assert rows


def test_bookkeeping_does_not_touch_the_terms() -> None:
    (row,) = remember(new_tenant(), "Fix the login")
    before = _row_version(row)

    MemoryLog.objects.filter(id=row.id).update(embedding=[0.5] * 768, indexed_version=1, embedded_hash="x")

    assert _row_version(row) == before


def _row_version(row: MemoryLog) -> object:
    with connection.cursor() as cursor:
        cursor.execute("SELECT ctid::text FROM memory_terms WHERE memory_id = %s", [row.id])
        return cursor.fetchone()


@pytest.mark.parametrize(
    "filters",
    [
        {"task": "Fix login"},
        {"agent": "bob"},
        {"date_from": date(2024, 6, 1)},
        {"date_to": date(2024, 4, 30), "agent": "bob"},
        {"tags": ("auth",)},
        {"tags": ("auth", "web")},
        {"raw_data": {"severity": 2}},
        {"raw_data": {"done": True, "component": "web"}},
    ],
)
def test_filters_narrow_the_ranking(filters: dict[str, object]) -> None:
    tenant = new_tenant()
    raw = {"tags": ["auth", "web"], "severity": 2, "done": True, "component": "web"}
    day = date(2024, 4, 1) if "date_to" in filters else date(2024, 6, 1)
    (wanted,) = remember(tenant, "Fix login", agent="bob", date=day, raw_data=raw)
    remember(tenant, "Repair login", raw_data={"tags": ["login"], "severity": 3, "done": False})

    assert found(tenant, "login", **filters) == [wanted.id]


def test_a_body_of_megabytes_is_stored_and_found_by_its_beginning() -> None:
    tenant = new_tenant()
    raw = {"log": "filler " * 500_000, "numbers": list(range(100_000)), "words": "sprocket"}
    (row,) = remember(tenant, "Collect", raw_data=raw)

    assert found(tenant, "collect filler") == [row.id]


INSERT_MANY = """
INSERT INTO memory_logs (user_id, project_id, task, agent, date, raw_data, version, content_hash, embedding_model,
                         embedded_hash)
SELECT %s, %s, CASE number %% 2 WHEN 0 THEN 'Common' ELSE 'Other' END || ' words ' || number, 'ann', '2024-05-08',
       '{}', 1, '', '', ''
FROM generate_series(0, 3999) AS number
"""


class TestManyMemories:
    """More memories than the ranking reads of, in the small."""

    @pytest.fixture(autouse=True)
    def _small_bounds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ranking, "ENOUGH", 20)
        monkeypatch.setattr(ranking, "MAX_CANDIDATES", 50)

    @pytest.fixture
    def tenant(self) -> Tenant:
        tenant = new_tenant()
        with connection.cursor() as cursor:
            cursor.execute(INSERT_MANY, [*tenant])
        return tenant

    def test_common_words_count_beside_a_rare_one(self, tenant: Tenant) -> None:
        rare, both = remember(tenant, "Sprocket", "Common sprocket")

        assert found(tenant, "common sprocket")[:2] == [both.id, rare.id]

    def test_where_all_words_are_common_the_newest_memories_are_ranked(self, tenant: Tenant) -> None:
        (newest,) = remember(tenant, "Common words, common words")

        ids = found(tenant, "common words", limit=4)

        assert ids == [newest.id, newest.id - 2, newest.id - 4, newest.id - 6]

    def test_what_rare_words_leave_empty_the_newest_fill(self, tenant: Tenant) -> None:
        (rare,) = remember(tenant, "Sprocket")
        (newest,) = remember(tenant, "Common")

        assert found(tenant, "common sprocket", limit=3) == [rare.id, newest.id, rare.id - 2]

    def test_a_common_term_is_estimated_from_the_sample(self, tenant: Tenant) -> None:
        found = ranking.statistics(tenant, "common 7")

        rare, common = found.terms
        assert rare.memories == 1
        assert common.memories == pytest.approx(2000, rel=0.5)
        assert found.memories == pytest.approx(4000, rel=0.5)

    @pytest.mark.parametrize(("sampled", "memories"), [(40, 4000), (80, 80 * 32)])
    def test_the_tenants_memories_are_counted_while_the_sample_is_small(
        self, tenant: Tenant, sampled: int, memories: int
    ) -> None:
        """Whichever memories the sample drew: a weight of a term would change with it."""
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE memory_terms_sample")
            cursor.execute(
                "INSERT INTO memory_terms_sample (key, memory_id, user_id, project_id, length)"
                " SELECT key, memory_id, user_id, project_id, length FROM"
                " (SELECT * FROM memory_terms WHERE user_id = %s LIMIT %s) AS t, unnest(keys) AS key",
                [tenant.user_id, sampled],
            )

        assert ranking.statistics(tenant, "common 7").memories == memories

    def test_filters_find_old_memories_too(self, tenant: Tenant) -> None:
        (old,) = MemoryLog.objects.filter(user_id=tenant.user_id).order_by("id")[:1]
        MemoryLog.objects.filter(id=old.id).update(agent="bob")

        assert found(tenant, "common words", agent="bob") == [old.id]

    def test_the_rows_of_a_rare_term_are_read_by_the_index(self, tenant: Tenant) -> None:
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE memory_terms, memory_logs")
        plans: list[str] = []

        def explain(execute, sql, parameters, many, context):  # type: ignore[no-untyped-def]
            plans.extend(line for (line,) in _rows("EXPLAIN " + sql, parameters))
            return execute(sql, parameters, many, context)

        def _rows(sql, parameters):  # type: ignore[no-untyped-def]
            with connection.connection.cursor() as cursor:
                return cursor.execute(sql, parameters).fetchall()

        with connection.execute_wrapper(explain):
            found(tenant, "common 7")

        text = "\n".join(plans)
        assert "Bitmap Index Scan on memory_terms_keys" in text
        assert "memory_terms_sample_pkey" in text
        assert "Filter: (keys" not in text
