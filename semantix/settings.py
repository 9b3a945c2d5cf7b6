"""Every setting of the service, read once, here, from the environment.

A variable's meaning and default stand beside it, and again in `.env.example`; a test holds the two
together. Importing this module starts nothing and opens nothing.
"""

import os
from pathlib import Path

from semantix.console.menu import unfold_settings
from semantix.environment import Environment
from semantix.observability import logs

BASE_DIR = Path(__file__).resolve().parent.parent

env = Environment()
# First wins: the process environment, then .env, then what a running `manage.py up` says of its services.
ENV_FILE = Path(env.str("ENV_FILE", default=str(BASE_DIR / ".env")))
Environment.read_env(ENV_FILE)
# All that the all-in-one keeps. A relative path is meant from the project's folder, wherever one stands.
DATA_DIR = BASE_DIR / Path(env.str("DATA_DIR", default="data")).expanduser()
# What a person gave; `manage.py up` makes the others. Empty is not given.
GIVEN = {
    name for name in ("DATABASE_URL", "CHROMA_URL", "SECRET_KEY", "SEMANTIX_AUTH") if os.environ.get(name)
}
for _name in {"DATABASE_URL", "CHROMA_URL", "SECRET_KEY", "SEMANTIX_AUTH"} - GIVEN:
    os.environ.pop(_name, None)
SERVICES_ENV = DATA_DIR / "services.env"
Environment.read_env(SERVICES_ENV)
# What commands say when no database answers.
OUTBOX_DATABASE_HINT = (
    "Does the server of DATABASE_URL run?"
    if os.environ.get("DATABASE_URL")
    else "Semantix is not running: `make run` starts it. Or set DATABASE_URL to a PostgreSQL of yours."
)

# --- The web -----------------------------------------------------------------------------------------

DEBUG = env.bool("DEBUG", default=False)
# The default keeps commands like `makemigrations` usable; `check --deploy` refuses it.
SECRET_KEY = env.str("SECRET_KEY", default="django-insecure-set-SECRET_KEY-before-you-deploy")
HOST = env.str("HOST", default="127.0.0.1")
PORT = env.port("PORT", default=8000)
# Requests handled at the same time; each of these threads keeps a database connection.
WEB_THREADS = env.int("WEB_THREADS", default=8)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
# Browsers and programs reach the service by https, through a proxy that says so in X-Forwarded-Proto (uvicorn believes
# those in FORWARDED_ALLOW_IPS): http is redirected there, cookies are sent by https alone, browsers told to keep to it.
HTTPS = env.bool("HTTPS", default=False)
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
# Machines of the same network ask without the proxy.
SECURE_REDIRECT_EXEMPT = ["^health/", "^metrics$"]
# Seconds a browser keeps to https after it was last told; it cannot be taken back sooner.
SECURE_HSTS_SECONDS = env.int("HSTS_SECONDS", default=3600) if HTTPS else 0
# Whether that holds for all hosts below this one, too.
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = env.bool("HSTS_SUBDOMAINS", default=True)
ROOT_URLCONF = "semantix.urls"
WSGI_APPLICATION = "semantix.wsgi.application"
ASGI_APPLICATION = "semantix.asgi.application"
APPEND_SLASH = False
# required: a request needs an API key (manage.py create_api_key). open: whoever reaches the port reads and writes
# all; `manage.py up` sets it on loopback, where nothing else is said, and `check --deploy` refuses it.
SEMANTIX_AUTH = env.one_of("SEMANTIX_AUTH", ("required", "open"), default="required")
# Seconds a process remembers that a key is good: a revoked one is refused after so long, at the latest.
API_KEY_CACHE_SECONDS = env.float("API_KEY_CACHE_SECONDS", default=5.0)
# Requests that a key may make: 600/min, 20/sec. Empty: any number. Counted in each process; with REDIS_URL in all.
THROTTLE_RATE = env.str("THROTTLE_RATE", default="")
# The largest request body in bytes; above it the answer is 413.
DATA_UPLOAD_MAX_MEMORY_SIZE = env.int("MAX_BODY_BYTES", default=10 * 1024 * 1024)
# Memories that one POST /memory-logs/batch may store.
BATCH_MAX_ITEMS = env.int("BATCH_MAX_ITEMS", default=1000)
# Hours for which a request sent again under its Idempotency-Key gets the answer of the first.
IDEMPOTENCY_HOURS = env.float("IDEMPOTENCY_HOURS", default=24.0)
# Days for which the versions of a deleted memory are kept. 0: they go with the memory. forever: they stay.
HISTORY_RETENTION_DAYS = env.days("HISTORY_RETENTION_DAYS", default=30)

INSTALLED_APPS = [
    "unfold",  # before the admin, whose templates it replaces
    "django.contrib.admin.apps.SimpleAdminConfig",  # its pages are loaded with the URLs: only there are they asked for
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
    "semantix",  # before django_q, whose command `qcluster` it extends
    "django_q",
    "outbox",
    "memories",
]

MIDDLEWARE = [
    "semantix.web.middleware.trace.trace",
    "semantix.web.middleware.access_log.log_requests",
    "semantix.observability.metrics.middleware.measure",
    "semantix.web.problem_pages.ProblemMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # Before the apps' own: they put Semantix's name on the framework's pages.
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
# Static files are served from the packages they come in; nothing needs collecting first.
WHITENOISE_USE_FINDERS = True

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
# Nothing here is translated, and looking each text up costs a little everywhere.
USE_I18N = False
FORMAT_MODULE_PATH = "semantix.formats"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Of this app only the abstract model is used: its own table is not made.
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
    "DEFAULT_THROTTLE_CLASSES": ["memories.api.throttling.KeyThrottle"],
    "DEFAULT_METADATA_CLASS": "memories.api.metadata.Metadata",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_RENDERER_CLASSES": [
        "rest_framework.renderers.JSONRenderer",
        "rest_framework.renderers.BrowsableAPIRenderer",
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
    # The pages' scripts and styles come from a package, not from the net.
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "persistAuthorization": True, "defaultModelsExpandDepth": 0},
}

# --- PostgreSQL, the source of truth -------------------------------------------------------------------

DATABASES = {"default": env.postgres("DATABASE_URL", default="postgresql://postgres@127.0.0.1:5432/semantix")}
DATABASES["default"] |= {
    "ENGINE": "semantix.database",
    "CONN_MAX_AGE": env.int("DATABASE_CONN_MAX_AGE", default=600),
    "CONN_HEALTH_CHECKS": True,
    # Through a transaction-mode pooler (PgBouncer) server-side cursors cannot live.
    "DISABLE_SERVER_SIDE_CURSORS": env.bool("DATABASE_TRANSACTION_POOLER", default=False),
}
# A server that went without a word (its machine, the network between) must hold nobody for longer than half a minute:
# what was sent has to be acknowledged within tcp_user_timeout (ms), who waits for an answer asks after 15 s whether
# the other side is there. DATABASE_URL may name others (?tcp_user_timeout=5000); on a Unix socket they mean nothing.
DATABASES["default"]["OPTIONS"] = {
    "connect_timeout": 3,
    "tcp_user_timeout": 15_000,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
} | DATABASES["default"].get("OPTIONS", {})
# Seconds after which a request gives up its connection to a server that is there and does not answer (frozen, paused).
DATABASE_WAIT_SECONDS = env.float("DATABASE_WAIT_SECONDS", default=60.0)
# A version's time is that of the statement that made it, like the row's own `updated_at`: the two are equal, and
# who had to wait for another's change comes after it (a transaction's time would be from before the wait).
PGHISTORY_CREATED_AT_FUNCTION = "statement_timestamp()"

# --- Chroma, the search index -----------------------------------------------------------------------------

CHROMA_URL = env.address("CHROMA_URL", "http://host:8000", default="http://127.0.0.1:8001")
# Where the embedded Chroma server keeps its files; unused when CHROMA_URL names a server.
CHROMADB_PATH = BASE_DIR / Path(env.str("CHROMADB_PATH", default=str(DATA_DIR / "chromadb"))).expanduser()
# Seconds one call to Chroma may take.
CHROMA_TIMEOUT_SECONDS = env.float("CHROMA_TIMEOUT_SECONDS", default=10.0)

# --- Embeddings -----------------------------------------------------------------------------------------

GOOGLE_API_KEY = env.str("GOOGLE_API_KEY", default="")
# A name (hashing, google, google-genai, sentence-transformers) or the dotted path of a class.
EMBEDDING_BACKEND = env.str("EMBEDDING_BACKEND", default="google" if GOOGLE_API_KEY else "hashing")
# Empty: the backend's own default.
EMBEDDING_MODEL = env.str("EMBEDDING_MODEL", default="")
EMBEDDING_DIMENSIONS = env.int("EMBEDDING_DIMENSIONS", default=768)
# Seconds one call to the provider may take.
EMBEDDING_TIMEOUT_SECONDS = env.float("EMBEDDING_TIMEOUT_SECONDS", default=20.0)
# Another address of the Google API (a proxy, a regional endpoint); empty: Google's own.
GOOGLE_API_ENDPOINT = env.str("GOOGLE_API_ENDPOINT", default="")
# Embeddings are kept in the process, or in REDIS_URL, so that a text asked for again costs no call.
EMBEDDING_CACHE_ENABLED = env.bool("EMBEDDING_CACHE_ENABLED", default=True)
# Entries a process keeps; in Redis its own maxmemory rules.
EMBEDDING_CACHE_SIZE = env.int("EMBEDDING_CACHE_SIZE", default=1000)
EMBEDDING_CACHE_TTL_HOURS = env.float("EMBEDDING_CACHE_TTL_HOURS", default=24.0)

# --- Search -----------------------------------------------------------------------------------------------

# Record a vector.searched event for each search: who, how many, never the words.
SEARCH_EVENTS = env.bool("SEARCH_EVENTS", default=True)

# --- The outbox -------------------------------------------------------------------------------------------

# listen: a trigger NOTIFYs and the relay LISTENs, polling beneath. poll: only polling; inserts pay no NOTIFY.
OUTBOX_WAKEUP = env.one_of("OUTBOX_WAKEUP", ("listen", "poll"), default="listen")
# Seconds between two looks at the table when nothing wakes the relay.
OUTBOX_POLL_SECONDS = env.float("OUTBOX_POLL_SECONDS", default=1.0)
# Events claimed at once, delivered as one task.
OUTBOX_BATCH_SIZE = env.int("OUTBOX_BATCH_SIZE", default=500)
OUTBOX_MAX_ATTEMPTS = env.int("OUTBOX_MAX_ATTEMPTS", default=8)
# Exponential backoff with full jitter: random() * min(cap, base * 2^(attempt-1)), in seconds.
OUTBOX_BACKOFF_BASE_SECONDS = env.float("OUTBOX_BACKOFF_BASE_SECONDS", default=1.0)
OUTBOX_BACKOFF_CAP_SECONDS = env.float("OUTBOX_BACKOFF_CAP_SECONDS", default=600.0)
# A dependency that is away is left alone for this long, doubled as long as it stays away, up to the cap (seconds).
OUTBOX_CIRCUIT_BASE_SECONDS = env.float("OUTBOX_CIRCUIT_BASE_SECONDS", default=1.0)
OUTBOX_CIRCUIT_CAP_SECONDS = env.float("OUTBOX_CIRCUIT_CAP_SECONDS", default=30.0)
# Seconds a claim holds: longer than the wait in the cluster's queue plus the task's timeout.
OUTBOX_LEASE_SECONDS = env.float("OUTBOX_LEASE_SECONDS", default=300.0)
OUTBOX_RETENTION_DAYS = env.int("OUTBOX_RETENTION_DAYS", default=30)
# While more events than this wait, the API takes no new memories and no changes (503 with Retry-After); reading,
# searching and deleting go on. Bulk events count against batches only. 0: it always takes them.
OUTBOX_MAX_BACKLOG = env.int("OUTBOX_MAX_BACKLOG", default=50_000)

# --- The cluster (django-q2) ------------------------------------------------------------------------------

Q_CLUSTER = {
    "name": "semantix",
    "broker_class": "outbox.relay.broker.OutboxBroker",
    "orm": "default",
    "workers": env.int("CLUSTER_WORKERS", default=2),
    # Seconds a task may run before its worker is ended.
    "timeout": env.int("CLUSTER_TIMEOUT_SECONDS", default=60),
    "retry": env.int("CLUSTER_RETRY_SECONDS", default=300),
    # Batches claimed ahead of the workers; each of them waits with its lease running.
    "queue_limit": env.int("CLUSTER_QUEUE_LIMIT", default=2),
    # Tasks after which a worker is replaced; it takes a second, and so is not done often.
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
    # Shared by the processes of this machine (or all, with Redis): the cluster's heartbeat for qmonitor.
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}
    if REDIS_URL
    else {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": DATA_DIR / "cache"},
    "throttle": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {"socket_timeout": 0.5, "socket_connect_timeout": 0.5},
    }
    if REDIS_URL
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "throttle"},
    "embeddings": {
        "TIMEOUT": EMBEDDING_CACHE_TTL_HOURS * 3600,
        "KEY_PREFIX": "embedding",
        **(
            {
                "BACKEND": "memories.embeddings.stores.SharedCache",
                "LOCATION": REDIS_URL,
                # A cache that does not answer at once is no cache.
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

# Where the processes of this machine keep what they measure, so that one scrape tells of all of them; `manage.py
# up` sets it. Read by prometheus_client from the environment.
PROMETHEUS_MULTIPROC_DIR = env.str("PROMETHEUS_MULTIPROC_DIR", default="")
# /metrics asks for it as a bearer token; empty: open to whoever reaches the port.
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
# Where the cluster's main process answers /metrics for its workers, on all addresses; 0: nowhere. For a cluster that
# shares no PROMETHEUS_MULTIPROC_DIR with a web server.
CLUSTER_METRICS_PORT = env.int("CLUSTER_METRICS_PORT", default=0)

# --- Conversations -------------------------------------------------------------------------------------------

# Where turns wait until their conversation is saved: a Redis server (one, not a Redis Cluster); empty: PostgreSQL.
# Another one than REDIS_URL where that one is for caches and evicts.
CONVERSATION_REDIS_URL = env.address("CONVERSATION_REDIS_URL", "redis://host:6379/0", default=REDIS_URL)
# Seconds one call to it may take; then turns go to PostgreSQL, and Redis is asked again after a pause.
CONVERSATION_REDIS_TIMEOUT_SECONDS = env.float("CONVERSATION_REDIS_TIMEOUT_SECONDS", default=0.5)
# Redis forgets a conversation so long after its last turn, saved or not: longer than any standstill of the cluster.
CONVERSATION_TTL_MINUTES = env.int("CONVERSATION_TTL_MINUTES", default=24 * 60)
# How often the cluster looks for conversations to save ...
CONVERSATION_FLUSH_MINUTES = env.int("CONVERSATION_FLUSH_MINUTES", default=5)
# ... and after how long without a turn one is saved.
CONVERSATION_IDLE_MINUTES = env.float("CONVERSATION_IDLE_MINUTES", default=10.0)
# Characters of text a memory of a conversation has at most; a longer conversation becomes several. What small
# embedding models read; larger is fewer embeddings and less exact finds (docs/explanation/conversations.md).
CONVERSATION_PART_CHARACTERS = env.int("CONVERSATION_PART_CHARACTERS", default=2000)

# --- Traces -------------------------------------------------------------------------------------------------

# A collector of OpenTelemetry that takes OTLP over HTTP, as http://collector:4318; empty: no traces. Read by the
# SDK from the environment, like its other OTEL_* variables.
OTEL_EXPORTER_OTLP_ENDPOINT = env.address("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318", default="")
OTEL_SERVICE_NAME = env.str("OTEL_SERVICE_NAME", default="semantix")

# --- Logs --------------------------------------------------------------------------------------------------

# JSON lines, unless a person reads along on a terminal.
LOG_LEVEL = env.one_of("LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), default="INFO")
LOGGING = logs.configuration(LOG_LEVEL)
