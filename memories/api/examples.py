"""Example requests of the OpenAPI document. A test sends each of them."""

from drf_spectacular.utils import OpenApiExample

STORE = OpenApiExample(
    "A bug and its fix",
    request_only=True,
    value={
        "user_id": "ada",
        "project_id": "demo",
        "agent": "coder",
        "task": "Fix the login timeout",
        "date": "2026-01-31",
        "raw_data": {
            "summary": "Users were logged out in the middle of a form",
            "solution": "The session outlived its token: refresh it first.",
            "tags": ["auth", "sessions"],
            "component": "login",
        },
    },
)
# One item: drf-spectacular puts it into a list.
BATCH = OpenApiExample(
    "A list of one memory",
    request_only=True,
    value={
        "user_id": "ada",
        "project_id": "demo",
        "agent": "coder",
        "task": "Speed up the search",
        "raw_data": {"solution": "An index on the column that it sorts by."},
    },
)
REPLACE = OpenApiExample(
    "Replace everything",
    request_only=True,
    value={
        "agent": "coder",
        "task": "Fix the login timeout",
        "raw_data": {"solution": "Refresh the token first."},
    },
)
PUT = OpenApiExample(
    "A ticket and its outcome",
    request_only=True,
    value={
        "user_id": "ada",
        "project_id": "demo",
        "agent": "coder",
        "task": "Fix the login timeout",
        "raw_data": {"status": "done"},
    },
)
CHANGE = OpenApiExample("Only the task", request_only=True, value={"task": "Fix the login timeout for good"})
# One item: drf-spectacular puts it into a list.
SEARCH_BATCH = OpenApiExample(
    "A list of one question",
    request_only=True,
    value={"user_id": "ada", "project_id": "demo", "query": "login timeout", "limit": 3},
)
SEARCH = OpenApiExample(
    "In plain words",
    request_only=True,
    value={
        "user_id": "ada",
        "project_id": "demo",
        "query": "timeouts at login",
        "limit": 5,
        "min_similarity": 0.2,
    },
)

SAY = OpenApiExample(
    "One turn",
    request_only=True,
    value={
        "user_id": "ada",
        "project_id": "demo",
        "role": "user",
        "content": "Where do I change my address?",
    },
)
SAY_MANY = OpenApiExample(
    "A question and its answer",
    request_only=True,
    value={
        "user_id": "ada",
        "project_id": "demo",
        "turns": [
            {"role": "user", "content": "Where do I change my address?"},
            {"role": "assistant", "content": "In your profile, under Addresses.", "model": "gemini"},
        ],
    },
)
SEARCH_TURNS = OpenApiExample(
    "In plain words",
    request_only=True,
    value={"user_id": "ada", "project_id": "demo", "query": "change my address"},
)
CLOSE = OpenApiExample("Close it", request_only=True, value={"user_id": "ada", "project_id": "demo"})

ERASE = OpenApiExample(
    "Everything of a project",
    request_only=True,
    value={"user_id": "ada", "project_id": "to-be-forgotten"},
)
