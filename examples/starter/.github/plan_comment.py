"""Posts `reconciler plan` as a comment of a pull request, and keeps that one comment up to date. Python's own library is all it needs.

`python plan_comment.py [PATH…]`; GITHUB_API_URL (default https://api.github.com), GITHUB_REPOSITORY, GITHUB_TOKEN and PULL_REQUEST say
where. Forges with the same API (Gitea, Forgejo) work too. Exit code 1 when a declaration is not valid or the comment can't be posted;
a plan with changes is no failure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request

MARK = "<!-- reconciler plan -->"
LONGEST = 60_000
PENDING = 2


def main(paths: list[str]) -> int:
    # --prune: with what would be deleted, and how
    done = subprocess.run(["reconciler", "plan", "--prune", *paths], capture_output=True, text=True, check=False)
    text = done.stdout + (f"\n{done.stderr}" if done.stderr.strip() else "")
    try:
        post(comment(text, done.returncode))
    except (OSError, KeyError, ValueError) as error:
        print(f"error: the comment can't be posted: {error}", file=sys.stderr)
        return 1
    return 0 if done.returncode in (0, PENDING) else 1


def comment(text: str, code: int) -> str:
    """The comment's Markdown. Nothing in the text can end the fence around it."""
    title = {0: "Nothing would change", PENDING: "What merging this would do"}.get(code, "The plan can't be made")
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}\n… cut; run `reconciler plan` for the rest"
    fence = "`" * (1 + max((len(run) for run in runs(text)), default=2))
    return f"{MARK}\n### {title}\n\n{fence}text\n{text.strip()}\n{fence}\n"


def runs(text: str) -> list[str]:
    """The backticks of a text, those that stand together as one; at least what a fence needs."""
    return ["``", *("".join(c if c == "`" else " " for c in text).split())]


def post(body: str) -> None:
    """Change the comment that an earlier run made, or make one."""
    base = f"{os.environ.get('GITHUB_API_URL') or 'https://api.github.com'}/repos/{os.environ['GITHUB_REPOSITORY']}/issues"
    number, page = int(os.environ["PULL_REQUEST"]), 1
    while found := call("GET", f"{base}/{number}/comments?per_page=100&page={page}"):
        for one in found:
            if str(one.get("body", "")).startswith(MARK):
                call("PATCH", f"{base}/comments/{one['id']}", {"body": body})
                return
        page += 1
    call("POST", f"{base}/{number}/comments", {"body": body})


def call(method: str, url: str, body: dict[str, str] | None = None) -> list[dict[str, object]]:
    """One request to the forge; the list that it answers with, if it does."""
    request = urllib.request.Request(
        url,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}",
            "Accept": "application/vnd.github+json",
            "Content-Type": "application/json",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            found = json.load(answer)
    except urllib.error.HTTPError as error:
        raise ValueError(f"{method} {url.partition('?')[0]}: {error.code} {error.reason}") from None
    return found if isinstance(found, list) else []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
