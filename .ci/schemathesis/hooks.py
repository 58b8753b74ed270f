"""Information that Schemathesis cannot read from the document: the custom formats, and the caller.

CALLER_EMAIL and CALLER_PASSWORD in the environment are the caller's credentials. Without them the caller is anonymous.
"""

import os
import re

import requests
import schemathesis
from hypothesis import strategies as st

EMAIL = os.environ.get("CALLER_EMAIL")

# A visible name: a letter, then letters, spaces, apostrophes and hyphens.
schemathesis.openapi.format("display-name", st.from_regex(r"[A-Za-zÀ-ÿ][A-Za-zÀ-ÿ '-]{0,98}", fullmatch=True))
# Only the server can create a cursor; `before_call` inserts one.
schemathesis.openapi.format("cursor", st.just("a-cursor-of-the-server"))



@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Removes TOML bodies, which Schemathesis cannot generate. The same calls accept JSON."""
    for operations in raw_schema["paths"].values():
        for operation in operations.values():
            if isinstance(operation, dict):
                operation.get("requestBody", {}).get("content", {}).pop("application/toml", None)


cursors = {}


@schemathesis.hook
def before_call(context, case, kwargs):
    """Replaces the cursor of a valid request by one from the server, or removes it if the list has only one page."""
    query = case.query or {}
    mode = case.meta.generation.mode if case.meta else None
    if "cursor" in query and mode == schemathesis.GenerationMode.POSITIVE:
        cursor = cursor_of(case)
        case.query = {**query, "cursor": cursor} if cursor else {k: v for k, v in query.items() if k != "cursor"}


def cursor_of(case):
    path = case.formatted_path
    if path not in cursors:
        url = case.operation.base_url.rstrip("/") + path
        response = requests.get(url, params={"limit": 1}, headers=bearer(case.operation.base_url), timeout=10)
        next_page = re.search(r"[?&]cursor=([^&>]+)", response.headers.get("link", ""))
        cursors[path] = next_page and next_page.group(1)
    return cursors[path]


def bearer(base_url):
    if not EMAIL:
        return {}
    body = {"email": EMAIL, "password": os.environ["CALLER_PASSWORD"]}
    response = requests.post(base_url.rstrip("/") + "/api/auth/login", json=body, timeout=10)
    response.raise_for_status()
    return {"Authorization": f"Bearer {response.json()['token']}"}


if EMAIL:
    # A new session every two seconds, because some calls end the caller's session.
    @schemathesis.auth(refresh_interval=2)
    class Login:
        def get(self, case, context):
            return bearer(case.operation.base_url)

        def set(self, case, data, context):
            case.headers.update(data)


@schemathesis.deserializer("application/openmetrics-text")
def deserialize_text(context, response):
    return response.text
