"""Every setting of the service, read once, here, from the environment.

Each variable has its meaning and default next to it, and again in `.env.example`; a test compares the two. The import
of this module starts nothing and opens nothing.
"""

import os
from pathlib import Path

from semantix import processors
from semantix.console.menu import unfold_settings
from semantix.environment import Environment, wrong
from semantix.observability import logs

BASE_DIR = Path(__file__).resolve().parent.parent

env = Environment()
# The first source wins: the process environment, then .env, then the services file of a running `manage.py up`.
ENV_FILE = Path(env.str("ENV_FILE", default=str(BASE_DIR / ".env")))
Environment.read_env(ENV_FILE)
# The folder for everything that `manage.py up` stores. A relative path starts at the project's folder.
DATA_DIR = BASE_DIR / Path(env.str("DATA_DIR", default="data")).expanduser()
# The settings that a person gave. `manage.py up` provides the others. An empty value counts as not given.
GIVEN = {
    name for name in ("DATABASE_URL", "CHROMA_URL", "SECRET_KEY", "SEMANTIX_AUTH") if os.environ.get(name)
}
for _name in {"DATABASE_URL", "CHROMA_URL", "SECRET_KEY", "SEMANTIX_AUTH"} - GIVEN:
    os.environ.pop(_name, None)
SERVICES_ENV = DATA_DIR / "services.env"
# The failing parts of a running `manage.py up`.
PARTS_FILE = DATA_DIR / "parts.json"
Environment.read_env(SERVICES_ENV)
# The hint that commands print where no database answers.
OUTBOX_DATABASE_HINT = (
    "Does the server of DATABASE_URL run?"
    if os.environ.get("DATABASE_URL")
    else "Semantix is not running: `make run` starts it. Or set DATABASE_URL to a PostgreSQL of yours."
)

# --- The web -----------------------------------------------------------------------------------------

DEBUG = env.bool("DEBUG", default=False)
# The default is for commands like `makemigrations`. Nothing that serves starts with it.
INSECURE_SECRET_KEY = "django-insecure-set-SECRET_KEY-before-you-deploy"
SECRET_KEY = env.str("SECRET_KEY", default=INSECURE_SECRET_KEY)
HOST = env.str("HOST", default="127.0.0.1")
PORT = env.port("PORT", default=8000)
# Processes of the web server. 0: one for each two processors, because the other parts need some, too.
WEB_WORKERS = env.int("WEB_WORKERS", default=0) or processors.web_processes(processors.usable())
# Whether each of these processes stays on one processor. Its threads take turns, and that is faster on one.
WEB_PINNED = env.bool("WEB_PINNED", default=True)
# Requests that each of these processes handles at the same time; each of its threads keeps a database connection.
WEB_THREADS = env.int("WEB_THREADS", default=8)
# The most connections of clients at the same time. Beyond it, the connection that has waited longest for a request is
# closed; where all are in use, a new one is answered 503.
WEB_CONNECTIONS = env.int("WEB_CONNECTIONS", default=2000)
# Seconds that a connection stays open after a response. Longer than the 60 s of common clients and proxies, so that
# they close it first and never send a request into a closed connection.
WEB_KEEP_ALIVE_SECONDS = env.int("WEB_KEEP_ALIVE_SECONDS", default=75)
# Seconds for the head of a request to arrive.
WEB_HEAD_SECONDS = env.float("WEB_HEAD_SECONDS", default=10.0)
# Seconds for the body of a request to arrive, and one second more for each 8 KiB that have arrived.
WEB_BODY_SECONDS = env.float("WEB_BODY_SECONDS", default=10.0)
# Bytes of request bodies in memory at the same time. Beyond it requests are answered 503. A client may use a quarter.
WEB_BODIES_BYTES = env.int("WEB_BODIES_BYTES", default=256 * 1024 * 1024)
# Proxies, as addresses or networks separated by commas, whose X-Forwarded-For and X-Forwarded-Proto are believed.
# Empty: no proxy is. *: everybody is; only where clients cannot reach the port directly.
FORWARDED_ALLOW_IPS = env.str("FORWARDED_ALLOW_IPS", default="")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
# Clients use https through a proxy of FORWARDED_ALLOW_IPS that sets X-Forwarded-Proto. Then http is redirected to
# https, cookies are sent over https only, and browsers are told to use https only (HSTS).
HTTPS = env.bool("HTTPS", default=False)
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
# Machines of the same network request these without the proxy.
SECURE_REDIRECT_EXEMPT = ["^health/", "^metrics$"]
# Seconds that a browser remembers to use https only. It cannot be revoked sooner.
SECURE_HSTS_SECONDS = env.int("HSTS_SECONDS", default=3600) if HTTPS else 0
# Whether this includes all subdomains.
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = env.bool("HSTS_SUBDOMAINS", default=True)
ROOT_URLCONF = "semantix.urls"
WSGI_APPLICATION = "semantix.wsgi.application"
ASGI_APPLICATION = "semantix.asgi.application"
APPEND_SLASH = False
# required: a request needs an API key (manage.py create_api_key). open: everybody who reaches the port can read and
# write everything; `manage.py up` sets it on loopback unless this is set, and `check --deploy` refuses it.
SEMANTIX_AUTH = env.one_of("SEMANTIX_AUTH", ("required", "open"), default="required")
# Seconds that a process remembers a valid key: a revoked key is refused after this time at the latest.
API_KEY_CACHE_SECONDS = env.float("API_KEY_CACHE_SECONDS", default=5.0)
# Requests per key, as 600/min or 20/sec. Empty: no limit. Counted by each process; with REDIS_URL by all together.
THROTTLE_RATE = env.str("THROTTLE_RATE", default="")
# Seconds between two heartbeats of a live stream. With each one its key or session is checked again.
LIVE_HEARTBEAT_SECONDS = env.float("LIVE_HEARTBEAT_SECONDS", default=15.0)
# Live streams (server-sent events and WebSockets) that one key may have open, in each process. 0: any number.
LIVE_STREAMS_PER_KEY = env.int("LIVE_STREAMS_PER_KEY", default=20)
# What one key may store: memories, and bytes of their raw_data as PostgreSQL stores it. Above it a write is answered
# 507. 0: no quota.
QUOTA_MEMORIES = env.int("QUOTA_MEMORIES", default=0)
QUOTA_BYTES = env.int("QUOTA_BYTES", default=0)
# Events of one key that may wait to be delivered. Above it a write is answered 429. 0: no quota.
QUOTA_WAITING_EVENTS = env.int("QUOTA_WAITING_EVENTS", default=0)
# The largest request body in bytes. A larger one is answered 413.
DATA_UPLOAD_MAX_MEMORY_SIZE = env.int("MAX_BODY_BYTES", default=10 * 1024 * 1024)
# Values in the raw_data of one memory, at every level. Each costs time in the request, in PostgreSQL and in the index.
MEMORY_MAX_VALUES = env.int("MEMORY_MAX_VALUES", default=20_000)
# Bytes of the raw_data of one memory, as JSON in UTF-8.
MEMORY_MAX_BYTES = env.int("MEMORY_MAX_BYTES", default=1024 * 1024)
# Bytes of task and raw_data in one page of a list: a page ends early when the next memory would be too much.
PAGE_MAX_BYTES = env.int("PAGE_MAX_BYTES", default=4 * 1024 * 1024)
# The most memories in one POST /memory-logs/batch.
BATCH_MAX_ITEMS = env.int("BATCH_MAX_ITEMS", default=1000)
# Hours for which a request repeated with its Idempotency-Key gets the first answer.
IDEMPOTENCY_HOURS = env.float("IDEMPOTENCY_HOURS", default=24.0)
# Days after which a memory expires that names no expires_at itself; 0: never.
MEMORY_TTL_DAYS = env.float("MEMORY_TTL_DAYS", default=0.0)
# Days for which the versions of a deleted memory are kept. 0: they go with the memory. forever: they stay.
HISTORY_RETENTION_DAYS = env.days("HISTORY_RETENTION_DAYS", default=30)

INSTALLED_APPS = [
    "unfold",  # before the admin, because it replaces the admin's templates
    "unfold.contrib.filters",
    "django.contrib.admin.apps.SimpleAdminConfig",  # does not load the admin's pages; semantix/urls.py does
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.staticfiles",
    "pgtrigger",
    "pghistory",
    "rest_framework",
    "rest_framework_api_key",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "semantix",  # before django_q, because it extends the command `qcluster`
    "django_q",
    "outbox",
    "memories",
]

MIDDLEWARE = [
    "semantix.web.middleware.trace.trace",
    "semantix.web.middleware.access_log.log_requests",
    "semantix.observability.metrics.middleware.measure",
    "semantix.web.middleware.content_security.restrict_pages",
    "semantix.web.problem_pages.ProblemMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "memories.api.encoded_path.keep_encoded_slashes",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # Before the apps' templates, to put Semantix's name on the framework's pages.
        "DIRS": [BASE_DIR / "semantix" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

UNFOLD = unfold_settings()

STATIC_URL = "static/"
# Serve static files from their packages, without collectstatic.
WHITENOISE_USE_FINDERS = True

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
# Nothing here is translated, and each lookup of a translation costs a little time.
USE_I18N = False
FORMAT_MODULE_PATH = "semantix.formats"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Only the abstract model of this app is used, so its own table is not created.
MIGRATION_MODULES = {"rest_framework_api_key": None}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "memories.api.authentication.KeyAuthentication",
        "memories.api.authentication.AdminSession",
    ],
    "DEFAULT_PERMISSION_CLASSES": [
        "memories.api.authentication.KeyRequired",
        "memories.api.authentication.FormsCarryToken",
    ],
    "UNAUTHENTICATED_USER": None,
    "EXCEPTION_HANDLER": "memories.api.problems.handler",
    "DEFAULT_PARSER_CLASSES": [
        "memories.api.parsers.StrictJSONParser",
        # For the forms of the browsable API.
        "rest_framework.parsers.MultiPartParser",
    ],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "memories.api.parsers.StrictNegotiation",
    "DEFAULT_THROTTLE_CLASSES": ["memories.api.throttling.KeyThrottle"],
    "DEFAULT_METADATA_CLASS": "memories.api.metadata.Metadata",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_RENDERER_CLASSES": [
        "rest_framework.renderers.JSONRenderer",
        "memories.api.browsable.Pages",
    ],
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Semantix",
    "DESCRIPTION": "A memory service for AI agents: write down what was done, find it again by meaning.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "AUTHENTICATION_WHITELIST": ["memories.api.authentication.KeyAuthentication"],
    "PARSER_WHITELIST": ["memories.api.parsers.StrictJSONParser"],
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "memories.api.openapi.describe_problems",
    ],
    # In the order of the page: memories first.
    "TAGS": [
        {"name": "memory-logs", "description": "memories: store, list, search, change, delete"},
        {"name": "live updates", "description": "what reaches the index, as it does"},
        {"name": "conversations", "description": "turns that become memories"},
        {"name": "tenants", "description": "whose memories a key opens"},
        {"name": "erasures", "description": "forget, and prove it"},
        {"name": "exports", "description": "everything of a person as JSON lines"},
        {"name": "agents", "description": "the Model Context Protocol"},
        {"name": "health and metrics", "description": "for operators"},
    ],
    # Serve the page's scripts and styles from a package, not from the internet.
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "persistAuthorization": True, "defaultModelsExpandDepth": 0},
}

# --- PostgreSQL, the source of truth -------------------------------------------------------------------

DATABASES = {"default": env.postgres("DATABASE_URL", default="postgresql://postgres@127.0.0.1:5432/semantix")}
# PostgreSQL past a transaction-mode pooler, for what needs a session of its own: LISTEN, the heartbeat of a cluster,
# the lock of a rebuild, `migrate`, `backup` and `restore`. Empty: DATABASE_URL serves for these, too.
if env.str("DATABASE_DIRECT_URL", default=""):
    if "DATABASE_URL" not in GIVEN:
        raise wrong("DATABASE_DIRECT_URL", "it names the database of DATABASE_URL, which is not set")
    DATABASES["direct"] = env.postgres("DATABASE_DIRECT_URL", default="")
OUTBOX_DIRECT_DATABASE = "direct" if "direct" in DATABASES else "default"
# A server that vanished (its machine or the network failed) must block nobody for more than half a minute: sent data
# must be acknowledged within tcp_user_timeout (ms), and keepalives probe an idle wait after 15 s. The URL may set other
# values (?tcp_user_timeout=5000). On a Unix socket they have no effect.
_OPTIONS = {
    "connect_timeout": 3,
    "tcp_user_timeout": 15_000,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
for _database in DATABASES.values():
    _database |= {
        "ENGINE": "semantix.database",
        "CONN_MAX_AGE": env.int("DATABASE_CONN_MAX_AGE", default=600),
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": _OPTIONS | _database.get("OPTIONS", {}),
    }
# Neither server-side cursors nor prepared statements work through a transaction-mode pooler (PgBouncer).
DATABASES["default"]["DISABLE_SERVER_SIDE_CURSORS"] = env.bool("DATABASE_TRANSACTION_POOLER", default=False)
if not DATABASES["default"]["DISABLE_SERVER_SIDE_CURSORS"]:
    # Django's default lets psycopg prepare nothing. See outbox/database/prepared.py.
    DATABASES["default"]["OPTIONS"].setdefault("prepare_threshold", 5)
# Seconds after which a request closes its connection to a server that accepts data but does not answer (frozen).
DATABASE_WAIT_SECONDS = env.float("DATABASE_WAIT_SECONDS", default=60.0)
# Seconds after which PostgreSQL stops a statement of the web server; the answer is then 503. 0: never. It has no effect
# behind a transaction-mode pooler, where the database role can set statement_timeout.
DATABASE_STATEMENT_SECONDS = env.float("DATABASE_STATEMENT_SECONDS", default=30.0)
# The time of a version is the time of its statement, as in the row's `updated_at`, so the two are equal. With the time
# of the transaction, a change that waited for another one would seem to be older than that one.
PGHISTORY_CREATED_AT_FUNCTION = "statement_timestamp()"

# --- Chroma, the search index -----------------------------------------------------------------------------

CHROMA_URL = env.address("CHROMA_URL", "http://host:8000", default="http://127.0.0.1:8001")
# Sent to that server as X-Chroma-Token.
CHROMA_API_KEY = env.str("CHROMA_API_KEY", default="")
# More headers of every request to it, as a JSON object.
CHROMA_HEADERS = env.strings("CHROMA_HEADERS")
# Where in that server the collections are. Both must exist.
CHROMA_TENANT = env.str("CHROMA_TENANT", default="default_tenant")
CHROMA_DATABASE = env.str("CHROMA_DATABASE", default="default_database")
# A file with the certificates (PEM) of the authority that signed the server's; without it, those of the system count.
CHROMA_CA_FILE = env.str("CHROMA_CA_FILE", default="")
# What that server accepts in one call and in one document: nothing for a server of your own, `cloud` for Chroma Cloud
# with its published limits, or a JSON object with other limits.
CHROMA_QUOTAS = env.str("CHROMA_QUOTAS", default="")
# The folder of the embedded Chroma server. Unused where CHROMA_URL names a server.
CHROMADB_PATH = BASE_DIR / Path(env.str("CHROMADB_PATH", default=str(DATA_DIR / "chromadb"))).expanduser()
# Collections that Chroma keeps open at once. 0: what a quarter of this machine's memory and its open files allow, at
# most 1,000. For a Chroma server of your own: the `capacity` of its configuration.
CHROMA_OPEN_COLLECTIONS = env.int("CHROMA_OPEN_COLLECTIONS", default=0)
# The most seconds for one call to Chroma.
CHROMA_TIMEOUT_SECONDS = env.float("CHROMA_TIMEOUT_SECONDS", default=10.0)
# The most seconds for a search in Chroma. After them PostgreSQL answers.
CHROMA_SEARCH_TIMEOUT_SECONDS = env.float("CHROMA_SEARCH_TIMEOUT_SECONDS", default=2.0)
# Whether Chroma also stores the text of each memory. No search needs it.
CHROMA_STORE_DOCUMENTS = env.bool("CHROMA_STORE_DOCUMENTS", default=True)

# --- Embeddings -----------------------------------------------------------------------------------------

GOOGLE_API_KEY = env.str("GOOGLE_API_KEY", default="")
# A name (static, hashing, minilm, google, google-genai, sentence-transformers) or the dotted path of a class.
EMBEDDING_BACKEND = env.str("EMBEDDING_BACKEND", default="google" if GOOGLE_API_KEY else "static")
# Empty: the backend's own default.
EMBEDDING_MODEL = env.str("EMBEDDING_MODEL", default="")
EMBEDDING_DIMENSIONS = env.int("EMBEDDING_DIMENSIONS", default=768)
# The most seconds for one call to the provider.
EMBEDDING_TIMEOUT_SECONDS = env.float("EMBEDDING_TIMEOUT_SECONDS", default=20.0)
# Another address of the Google API (a proxy, a regional endpoint); empty: Google's own.
GOOGLE_API_ENDPOINT = env.str("GOOGLE_API_ENDPOINT", default="")
# Keep embeddings in the process or in REDIS_URL, so that a repeated text needs no call.
EMBEDDING_CACHE_ENABLED = env.bool("EMBEDDING_CACHE_ENABLED", default=True)
# The most entries in a process. In Redis, its maxmemory applies instead.
EMBEDDING_CACHE_SIZE = env.int("EMBEDDING_CACHE_SIZE", default=1000)
EMBEDDING_CACHE_TTL_HOURS = env.float("EMBEDDING_CACHE_TTL_HOURS", default=24.0)

# --- Search -----------------------------------------------------------------------------------------------

# Record a vector.searched event for each search: the tenant and the number of results, never the query.
SEARCH_EVENTS = env.bool("SEARCH_EVENTS", default=True)

# --- The outbox -------------------------------------------------------------------------------------------

# listen: a trigger sends NOTIFY and the relay LISTENs, and polls as well. poll: polling only; inserts send no NOTIFY.
OUTBOX_WAKEUP = env.one_of("OUTBOX_WAKEUP", ("listen", "poll"), default="listen")
# Seconds between two polls where nothing wakes the relay.
OUTBOX_POLL_SECONDS = env.float("OUTBOX_POLL_SECONDS", default=1.0)
# Events claimed at once, delivered as one task.
OUTBOX_BATCH_SIZE = env.int("OUTBOX_BATCH_SIZE", default=500)
OUTBOX_MAX_ATTEMPTS = env.int("OUTBOX_MAX_ATTEMPTS", default=8)
# Exponential backoff with full jitter: random() * min(cap, base * 2^(attempt-1)), in seconds.
OUTBOX_BACKOFF_BASE_SECONDS = env.float("OUTBOX_BACKOFF_BASE_SECONDS", default=1.0)
OUTBOX_BACKOFF_CAP_SECONDS = env.float("OUTBOX_BACKOFF_CAP_SECONDS", default=600.0)
# The first pause for an unavailable dependency. It doubles after each failed probe, up to the cap (seconds).
OUTBOX_CIRCUIT_BASE_SECONDS = env.float("OUTBOX_CIRCUIT_BASE_SECONDS", default=1.0)
OUTBOX_CIRCUIT_CAP_SECONDS = env.float("OUTBOX_CIRCUIT_CAP_SECONDS", default=30.0)
# Seconds until a claim expires. Must exceed the wait in the cluster's queue plus the task's timeout.
OUTBOX_LEASE_SECONDS = env.float("OUTBOX_LEASE_SECONDS", default=300.0)
OUTBOX_RETENTION_DAYS = env.int("OUTBOX_RETENTION_DAYS", default=30)
# While more events than this wait, the API refuses new memories and changes (503 with Retry-After), but still reads,
# searches and deletes. Bulk events count against batches only. 0: no limit.
OUTBOX_MAX_BACKLOG = env.int("OUTBOX_MAX_BACKLOG", default=50_000)
# Users share the backlog: while it is too deep, only those with more than their share are refused.
OUTBOX_BACKLOG_GROUP = "user_id"

# --- The cluster (django-q2) ------------------------------------------------------------------------------

Q_CLUSTER = {
    "name": "semantix",
    "broker_class": "outbox.relay.broker.OutboxBroker",
    "orm": "default",
    # 0: one for each processor, and at least two, so that a slow call holds up no other event.
    "workers": env.int("CLUSTER_WORKERS", default=0) or max(2, processors.usable()),
    # Seconds until the worker of a running task is killed.
    "timeout": env.int("CLUSTER_TIMEOUT_SECONDS", default=60),
    "retry": env.int("CLUSTER_RETRY_SECONDS", default=300),
    # Batches claimed ahead of the workers. The lease of each of them is running.
    "queue_limit": env.int("CLUSTER_QUEUE_LIMIT", default=2),
    # Tasks after which a worker is replaced. This takes a second, so it is rare.
    "recycle": env.int("CLUSTER_RECYCLE_TASKS", default=100_000),
    "max_attempts": 5,
    "ack_failures": True,
    "catch_up": False,
    "guard_cycle": 1,
    "label": "Task queue",
}

# --- Caches ------------------------------------------------------------------------------------------------

REDIS_URL = env.address("REDIS_URL", "redis://host:6379/0", default="")
CACHES = {
    # Shared by the processes of this machine, with Redis by all: holds the cluster's heartbeat for qmonitor.
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}
    if REDIS_URL
    else {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": DATA_DIR / "cache"},
    "throttle": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {"socket_timeout": 0.5, "socket_connect_timeout": 0.5},
    }
    if REDIS_URL
    else {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "throttle",
        # Callers that it remembers. Django's default of 300 would let a caller be forgotten by asking under 300 names.
        "OPTIONS": {"MAX_ENTRIES": 50_000},
    },
    "embeddings": {
        "TIMEOUT": EMBEDDING_CACHE_TTL_HOURS * 3600,
        "KEY_PREFIX": "embedding",
        **(
            {
                "BACKEND": "memories.embeddings.stores.SharedCache",
                "LOCATION": REDIS_URL,
                # A slow cache is worse than a new embedding.
                "OPTIONS": {"socket_timeout": 0.5, "socket_connect_timeout": 0.5},
            }
            if REDIS_URL
            else {
                "BACKEND": "memories.embeddings.stores.InProcessCache",
                "LOCATION": "embeddings",
                "OPTIONS": {"MAX_ENTRIES": EMBEDDING_CACHE_SIZE},
            }
        ),
    },
}

# --- Metrics ------------------------------------------------------------------------------------------------

# The folder in which the processes of this machine keep their metrics, so that one scrape covers all of them.
# `manage.py up` sets it. prometheus_client reads it from the environment.
PROMETHEUS_MULTIPROC_DIR = env.str("PROMETHEUS_MULTIPROC_DIR", default="")
# The bearer token that /metrics requires. Empty: everybody who reaches the port can read it.
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
# The port where a cluster's main process answers /metrics for its workers: on all addresses where METRICS_TOKEN is set,
# else on loopback only. 0: nowhere. For a cluster that shares no PROMETHEUS_MULTIPROC_DIR with a web server.
CLUSTER_METRICS_PORT = env.int("CLUSTER_METRICS_PORT", default=0)

# --- Conversations -------------------------------------------------------------------------------------------

# The Redis server (not a Redis Cluster) that buffers turns until their conversation is saved. Empty: PostgreSQL buffers
# them. Use another server than REDIS_URL where that one is a cache that evicts entries.
CONVERSATION_REDIS_URL = env.address("CONVERSATION_REDIS_URL", "redis://host:6379/0", default=REDIS_URL)
# The most seconds for one call to Redis. After a timeout turns go to PostgreSQL until Redis is tried again.
CONVERSATION_REDIS_TIMEOUT_SECONDS = env.float("CONVERSATION_REDIS_TIMEOUT_SECONDS", default=0.5)
# Redis deletes a conversation this long after its last turn, saved or not. Must exceed every outage of the cluster.
CONVERSATION_TTL_MINUTES = env.int("CONVERSATION_TTL_MINUTES", default=24 * 60)
# Minutes between two searches for conversations to save.
CONVERSATION_FLUSH_MINUTES = env.int("CONVERSATION_FLUSH_MINUTES", default=5)
# Minutes without a turn after which a conversation is saved.
CONVERSATION_IDLE_MINUTES = env.float("CONVERSATION_IDLE_MINUTES", default=10.0)
# The most characters of text in one memory of a conversation; a longer conversation becomes several memories. The
# default is what small embedding models read; more characters mean fewer embeddings and less exact results
# (docs/explanation/conversations.md).
CONVERSATION_PART_CHARACTERS = env.int("CONVERSATION_PART_CHARACTERS", default=2000)

# --- Traces -------------------------------------------------------------------------------------------------

# An OpenTelemetry collector that accepts OTLP over HTTP, as http://collector:4318. Empty: no traces. The SDK reads it
# from the environment, like its other OTEL_* variables.
OTEL_EXPORTER_OTLP_ENDPOINT = env.address("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318", default="")
OTEL_SERVICE_NAME = env.str("OTEL_SERVICE_NAME", default="semantix")

# --- Logs --------------------------------------------------------------------------------------------------

# The log is JSON lines, or readable lines on a terminal.
LOG_LEVEL = env.one_of("LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), default="INFO")
LOGGING = logs.configuration(LOG_LEVEL)
