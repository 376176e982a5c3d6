"""Which operation a method and path mean (vers-api §2). The operation names are what faults, latencies and logs go by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from reconciler.vers.simulator import limits
from reconciler.vers.simulator.wire import Query

PREFIX = "/api/v1"

# method, path under the prefix, operation; {…} is a parameter
_TABLE = (
    ("GET", "/vms", "list_vms"),
    ("GET", "/vm", "list_vms"),
    ("POST", "/vm/new_root", "new_root"),
    ("POST", "/vm/from_commit", "from_commit"),
    ("POST", "/vm/{vm_or_commit_id}/branch", "branch"),
    ("POST", "/vm/branch/by_vm/{vm_id}", "branch_by_vm"),
    ("POST", "/vm/branch/by_commit/{commit_id}", "branch_by_commit"),
    ("POST", "/vm/branch/by_tag/{tag_name}", "branch_by_tag"),
    ("POST", "/vm/branch/by_ref/{repo_name}/{tag_name}", "branch_by_ref"),
    ("POST", "/vm/{vm_id}/commit", "commit"),
    ("DELETE", "/vm/{vm_id}", "delete_vm"),
    ("PATCH", "/vm/{vm_id}/state", "set_state"),
    ("PATCH", "/vm/{vm_id}/disk", "resize_disk"),
    ("GET", "/vm/{vm_id}/status", "status"),
    ("GET", "/vm/{vm_id}/metadata", "metadata"),
    ("GET", "/vm/{vm_id}/ssh_key", "ssh_key"),
    ("PATCH", "/vm/{vm_id}/label", "label"),
    ("PUT", "/vm/{vm_id}/labels", "set_labels"),
    ("DELETE", "/vm/{vm_id}/label/{label_name}", "delete_label"),
    ("POST", "/vm/{vm_id}/exec", "exec"),
    ("POST", "/vm/{vm_id}/exec/stream", "exec_stream"),
    ("POST", "/vm/{vm_id}/exec/stream/attach", "exec_attach"),
    ("GET", "/vm/{vm_id}/logs", "logs"),
    ("GET", "/vm/{vm_id}/files", "read_file"),
    ("PUT", "/vm/{vm_id}/files", "write_file"),
    ("GET", "/commits", "list_commits"),
    ("GET", "/commits/public", "list_public_commits"),
    ("PATCH", "/commits/{commit_id}", "update_commit"),
    ("DELETE", "/commits/{commit_id}", "delete_commit"),
    ("GET", "/vm/commits/{commit_id}/parents", "commit_parents"),
    ("GET", "/commit_tags", "list_commit_tags"),
    ("POST", "/commit_tags", "create_commit_tag"),
    ("GET", "/commit_tags/{tag_name}", "get_commit_tag"),
    ("PATCH", "/commit_tags/{tag_name}", "update_commit_tag"),
    ("DELETE", "/commit_tags/{tag_name}", "delete_commit_tag"),
    ("GET", "/repositories", "list_repositories"),
    ("POST", "/repositories", "create_repository"),
    ("POST", "/repositories/fork", "fork_repository"),
    ("GET", "/repositories/{repo_name}", "get_repository"),
    ("DELETE", "/repositories/{repo_name}", "delete_repository"),
    ("PATCH", "/repositories/{repo_name}/visibility", "set_visibility"),
    ("GET", "/repositories/{repo_name}/tags", "list_repository_tags"),
    ("POST", "/repositories/{repo_name}/tags", "create_repository_tag"),
    ("GET", "/repositories/{repo_name}/tags/{tag_name}", "get_repository_tag"),
    ("PATCH", "/repositories/{repo_name}/tags/{tag_name}", "update_repository_tag"),
    ("DELETE", "/repositories/{repo_name}/tags/{tag_name}", "delete_repository_tag"),
    ("GET", "/public/repositories", "list_public_repositories"),
    ("GET", "/public/repositories/{org}/{repo_name}", "get_public_repository"),
    ("GET", "/public/repositories/{org}/{repo_name}/tags", "list_public_repository_tags"),
    ("GET", "/public/repositories/{org}/{repo_name}/tags/{tag_name}", "get_public_repository_tag"),
    ("GET", "/env_vars", "list_env"),
    ("PUT", "/env_vars", "put_env"),
    ("DELETE", "/env_vars/{name}", "delete_env"),
    ("GET", "/whoami", "whoami"),
    ("POST", "/keys/validate", "validate_key"),
    ("GET", "/system/version", "version"),
)

UNAUTHENTICATED = frozenset(
    {
        "health",
        "version",
        "list_public_repositories",
        "get_public_repository",
        "list_public_repository_tags",
        "get_public_repository_tag",
        "unknown",
    }
)
OPERATIONS = frozenset(op for _, _, op in _TABLE) | {"health"}


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request as a value. `segments`: the decoded path; header names are lower-case."""

    method: str
    path: str
    segments: tuple[str, ...]
    query: Query
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Request:
        """From a request line's method and target. Raises `ValueError` for a target that is no URL."""
        if "?" not in target and "%" not in target and not target.startswith("//") and "#" not in target:
            return cls(method, target, tuple(target[1:].split("/")), Query({}), headers, body)
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True, max_num_fields=limits.FIELDS))
        segments = tuple(unquote(s) for s in parts.path[1:].split("/"))
        return cls(method, parts.path, segments, Query(query), headers, body)


def body_limit(method: str, target: str) -> int:
    """The most bytes of a request's body."""
    path = target.partition("?")[0]
    if method == "PUT" and path.endswith("/files"):
        return limits.FILE_BODY
    return limits.EXEC_BODY if path.endswith(("/exec", "/exec/stream")) else limits.BODY


@dataclass(frozen=True, slots=True)
class Target:
    """`op` is `unknown` where no operation has that path; `allowed`: false when only the method is wrong."""

    op: str
    params: Mapping[str, str]
    allowed: bool = True


class Router:
    """Static segments win over parameters."""

    def __init__(self) -> None:
        self._static: dict[tuple[str, tuple[str, ...]], str] = {}
        self._patterns: dict[tuple[str, int], list[tuple[tuple[str, ...], str]]] = {}
        for method, path, op in _TABLE:
            segments = tuple((PREFIX + path)[1:].split("/"))
            if "{" in path:
                self._patterns.setdefault((method, len(segments)), []).append((segments, op))
            else:
                self._static[method, segments] = op
        self._static["GET", ("health",)] = "health"
        for choices in self._patterns.values():  # most static segments first
            choices.sort(key=lambda choice: sum(s.startswith("{") for s in choice[0]))

    def match(self, request: Request) -> Target:
        segments = request.segments
        found = self._match(request.method, segments)
        if found is not None:
            return found
        others = {method for method, _, _ in _TABLE} - {request.method}
        wrong_method = any(self._match(method, segments) is not None for method in others)
        return Target("unknown", {}, not wrong_method)

    def _match(self, method: str, segments: tuple[str, ...]) -> Target | None:
        op = self._static.get((method, segments))
        if op is not None:
            return Target(op, {})
        for pattern, op in self._patterns.get((method, len(segments)), ()):
            if all(p == s or (p[0] == "{" and s) for p, s in zip(pattern, segments, strict=True) if p):
                return Target(op, {p[1:-1]: s for p, s in zip(pattern, segments, strict=True) if p[:1] == "{"})
        return None
