"""Commits, tags, repositories, environment variables and who-am-I (vers-api §2.3, §2.4)."""

from __future__ import annotations

import re

from reconciler.vers.simulator import limits, wire
from reconciler.vers.simulator.records import Caller, Commit, RemoveSnapshot, Repository, Tag
from reconciler.vers.simulator.wire import Body, Json, JsonValue, Query, Reply
from reconciler.vers.simulator.world import World, bounded, json_reply, json_row

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")


class CatalogOps:
    """Each method is one operation: it returns the `Reply` or raises `ApiError`."""

    def __init__(self, world: World) -> None:
        self.world = world

    def _json(self, status: int, value: JsonValue) -> Reply:
        return json_reply(status, value, self.world.knobs)

    # --- commits -----------------------------------------------------------------------------------------------------------

    def _commit(self, commit: Commit, id_field: str) -> Json:
        return json_row(
            {
                id_field: commit.id,
                "name": commit.name,
                "owner_id": commit.owner,
                "is_public": commit.is_public,
                "created_at": self.world.stamp(commit.created_at),
                "description": commit.description,
                "parent_vm_id": commit.parent_vm,
                "grandparent_commit_id": commit.grandparent_commit,
            },
            self.world.knobs,
        )

    def list_commits(self, query: Query, *, public: bool = False) -> Reply:
        """Newest first, `limit` at most 100 (default 50)."""
        limit, offset = min(query.number("limit", 50), 100), query.number("offset", 0)
        hidden = self.world.knobs.list_internal_commits == "no"
        rows = [c for c in self.world.commits.values() if not (hidden and c.internal) and (c.is_public or not public)]
        rows.reverse()
        page: list[JsonValue] = [self._commit(c, "commit_id") for c in rows[offset : offset + limit]]
        return self._json(200, {"commits": page, "total": len(rows), "limit": limit, "offset": offset})

    def update_commit(self, who: Caller, commit_id: str, body: Body) -> Reply:
        is_public, name, description = body.flag("is_public"), body.short("name"), body.short("description", limits.TEXT)
        commit = self.world.commit(commit_id, "not found")
        commit.is_public = is_public
        commit.name = name or commit.name
        commit.description = description if body.has("description") else commit.description
        self._note(who, "update_commit", "commit", commit_id)
        return self._json(200, self._commit(commit, "commit_id"))

    def delete_commit(self, who: Caller, commit_id: str) -> Reply:
        """409 while a live VM was started from it."""
        world = self.world
        commit = world.commit(commit_id, "not found")
        if commit.owner != who.owner:
            raise wire.forbidden()
        now = world.clock()
        live = sum(1 for vm in world.present.values() if vm.parent_commit == commit_id and vm.exists(now))
        if live:
            raise wire.refused(409, f"commit still has {live} active VM(s)")
        del world.commits[commit_id]
        world.effects.append(RemoveSnapshot(commit_id))
        self._note(who, "delete_commit", "commit", commit_id)
        return wire.empty(204)

    def parents(self, commit_id: str) -> Reply:
        """From the commit to the root; the id field is `id` here (vers-api §2.3)."""
        chain: list[JsonValue] = []
        next_id: str | None = self.world.commit(commit_id, "not found").id
        while next_id is not None and len(chain) < limits.COMMITS and (commit := self.world.commits.get(next_id)) is not None:
            chain.append(self._commit(commit, "id"))
            next_id = commit.grandparent_commit
        return self._json(200, chain)

    # --- tags, of the organisation and of repositories ---------------------------------------------------------------------

    def _tag(self, tag: Tag, repo: str | None) -> Json:
        row: Json = {
            "tag_id": tag.id,
            "tag_name": tag.name,
            "commit_id": tag.commit,
            "description": tag.description,
            "created_at": self.world.stamp(tag.created_at),
            "updated_at": self.world.stamp(tag.updated_at),
        }
        if repo is not None:
            row["reference"] = f"{repo}:{tag.name}"
        return json_row(row, self.world.knobs)

    def _new_tag(self, tags: dict[str, Tag], body: Body) -> Tag:
        name, commit_id = body.required_text("tag_name"), body.required_uuid("commit_id")
        description = body.short("description", limits.TEXT)
        if not _NAME.fullmatch(name):
            raise wire.refused(400, "Invalid tag name")
        self.world.commit(commit_id)
        if name in tags:
            raise wire.refused(409, "tag already exists")
        self.world.check_room(tags, "tags")
        now = self.world.clock()
        tags[name] = Tag(self.world.new_id(), name, commit_id, now, now, description)
        return tags[name]

    def _change_tag(self, tag: Tag, body: Body) -> None:
        """Absent keeps, null clears (vers-api §2.3)."""
        commit_id, description = body.uuid("commit_id"), body.short("description", limits.TEXT)
        if commit_id is not None:
            self.world.commit(commit_id)
        if body.has("commit_id"):
            tag.commit = commit_id
        if body.has("description"):
            tag.description = description
        tag.updated_at = self.world.clock()

    def _found(self, tags: dict[str, Tag], name: str) -> Tag:
        tag = tags.get(name)
        if tag is None:
            raise wire.not_found("tag not found")
        return tag

    def list_commit_tags(self) -> Reply:
        rows: list[JsonValue] = [self._tag(tag, None) for tag in self.world.tags.values()]
        return self._json(200, {"tags": rows})

    def create_commit_tag(self, who: Caller, body: Body) -> Reply:
        tag = self._new_tag(self.world.tags, body)
        self._note(who, "create_commit_tag", "tag", tag.name)
        return self._json(201, {"tag_id": tag.id, "tag_name": tag.name, "commit_id": tag.commit})

    def get_commit_tag(self, name: str) -> Reply:
        return self._json(200, self._tag(self._found(self.world.tags, name), None))

    def update_commit_tag(self, who: Caller, name: str, body: Body) -> Reply:
        self._change_tag(self._found(self.world.tags, name), body)
        self._note(who, "update_commit_tag", "tag", name)
        return wire.empty(204)

    def delete_commit_tag(self, who: Caller, name: str) -> Reply:
        self._found(self.world.tags, name)
        del self.world.tags[name]
        self._note(who, "delete_commit_tag", "tag", name)
        return wire.empty(204)

    # --- repositories ------------------------------------------------------------------------------------------------------

    def repository(self, name: str) -> Repository:
        found = self.world.repositories.get(name)
        if found is None:
            raise wire.not_found("repository not found")
        return found

    def _repository(self, repo: Repository) -> Json:
        return json_row(
            {
                "repo_id": repo.id,
                "name": repo.name,
                "description": repo.description,
                "is_public": repo.is_public,
                "created_at": self.world.stamp(repo.created_at),
            },
            self.world.knobs,
        )

    def list_repositories(self, *, public: bool = False) -> Reply:
        rows: list[JsonValue] = [self._repository(r) for r in self.world.repositories.values() if r.is_public or not public]
        return self._json(200, {"repositories": rows})

    def create_repository(self, who: Caller, body: Body) -> Reply:
        name, description = body.required_text("name"), body.short("description", limits.TEXT)
        repo = self._new_repository(name, description)
        self._note(who, "create_repository", "repository", name)
        return self._json(201, {"repo_id": repo.id, "name": name})

    def _new_repository(self, name: str, description: str | None) -> Repository:
        if not _NAME.fullmatch(name):
            raise wire.refused(400, "Invalid repository name")
        if name in self.world.repositories:
            raise wire.refused(409, "repository already exists")
        self.world.check_room(self.world.repositories, "repositories")
        repo = Repository(self.world.new_id(), name, self.world.clock(), description)
        self.world.repositories[name] = repo
        return repo

    def get_repository(self, name: str) -> Reply:
        return self._json(200, self._repository(self.repository(name)))

    def delete_repository(self, who: Caller, name: str) -> Reply:
        """Takes its tags along, not the commits."""
        self.repository(name)
        del self.world.repositories[name]
        self._note(who, "delete_repository", "repository", name)
        return wire.empty(204)

    def set_visibility(self, who: Caller, name: str, body: Body) -> Reply:
        is_public = body.flag("is_public")
        self.repository(name).is_public = is_public
        self._note(who, "set_visibility", "repository", name)
        return wire.empty(204)

    def fork_repository(self, who: Caller, body: Body) -> Reply:
        """Makes a repository, a tag and, as a side effect, a VM."""
        world = self.world
        org, source, source_tag = body.required_text("source_org"), body.required_text("source_repo"), body.required_text("source_tag")
        name, tag_name = body.text("repo_name") or source, body.text("tag_name") or source_tag
        found = world.repositories.get(source)
        if org != world.account.org or found is None or not found.is_public:
            raise wire.not_found("repository not found")
        tag = self._found(found.tags, source_tag)
        commit = world.commit(tag.commit or "")
        if name in world.repositories:
            raise wire.refused(409, "repository already exists")
        if not _NAME.fullmatch(tag_name):
            raise wire.refused(400, "Invalid tag name")
        world.check_quota()
        repo = self._new_repository(name, found.description)
        now = world.clock()
        repo.tags[tag_name] = Tag(world.new_id(), tag_name, commit.id, now, now)
        vm = world.add_vm(who, "fork_repository", commit.shape, {}, commit.id, 0.0)
        self._note(who, "fork_repository", "repository", name)
        row: Json = {"repo_name": name, "tag_name": tag_name, "reference": f"{name}:{tag_name}", "commit_id": commit.id, "vm_id": vm.id}
        return self._json(201, row)

    def list_repository_tags(self, name: str) -> Reply:
        repo = self.repository(name)
        rows: list[JsonValue] = [self._tag(tag, name) for tag in repo.tags.values()]
        return self._json(200, {"repository": name, "tags": rows})

    def create_repository_tag(self, who: Caller, name: str, body: Body) -> Reply:
        tag = self._new_tag(self.repository(name).tags, body)
        self._note(who, "create_repository_tag", "repository", name)
        return self._json(201, {"tag_id": tag.id, "reference": f"{name}:{tag.name}", "commit_id": tag.commit})

    def get_repository_tag(self, name: str, tag: str) -> Reply:
        return self._json(200, self._tag(self._found(self.repository(name).tags, tag), name))

    def update_repository_tag(self, who: Caller, name: str, tag: str, body: Body) -> Reply:
        self._change_tag(self._found(self.repository(name).tags, tag), body)
        self._note(who, "update_repository_tag", "repository", name)
        return wire.empty(204)

    def delete_repository_tag(self, who: Caller, name: str, tag: str) -> Reply:
        repo = self.repository(name)
        self._found(repo.tags, tag)
        del repo.tags[tag]
        self._note(who, "delete_repository_tag", "repository", name)
        return wire.empty(204)

    def public_repository(self, org: str, name: str) -> Repository:
        repo = self.repository(name)
        if org != self.world.account.org or not repo.is_public:
            raise wire.not_found("repository not found")
        return repo

    # --- environment variables (account-wide, written into new guests) ------------------------------------------------------

    def list_env(self) -> Reply:
        return self._json(200, {"vars": dict(self.world.environment)})

    def put_env(self, who: Caller, body: Body) -> Reply:
        values = body.strings("vars")
        if values is None:
            raise body.missing("vars")
        for name, value in values.items():
            if not _ENV_NAME.fullmatch(name) or len(value) > limits.VARIABLE:
                raise wire.refused(400, "Invalid environment variable")
        kept = {} if body.flag("replace", False) else self.world.environment
        self.world.environment = bounded({**kept, **values}, limits.VARIABLES, "variables")
        self._note(who, "put_env", "meta", "environment")
        return self._json(200, {"vars": dict(self.world.environment)})

    def delete_env(self, who: Caller, name: str) -> Reply:
        if name not in self.world.environment:
            raise wire.not_found("Environment variable not found")
        del self.world.environment[name]
        self._note(who, "delete_env", "meta", "environment")
        return wire.empty(204)

    # --- about the account and the system ------------------------------------------------------------------------------------

    def whoami(self) -> Reply:
        account = self.world.account
        key: Json = {
            "id": account.key_id,
            "label": "simulator",
            "created_at": self.world.stamp(account.created_at),
            "expires_at": None,
            "max_vcpus": None,
            "max_memory_mib": None,
        }
        org: Json = {"id": account.key_id, "name": account.org}
        user: Json = {"id": account.key_id, "email": "user@example.com", "user_name": "simulated"}
        return self._json(200, {"api_key": key, "org": org, "user": user})

    def validate_key(self) -> Reply:
        return self._json(200, {"valid": True, "message": "API key is valid"})

    def version(self) -> Reply:
        return self._json(200, {"executable_name": "simulator", "workspace_version": "0.0.0", "git_hash": "0" * 40})

    def health(self) -> Reply:
        idle: Json = {"connections_total": 0, "connections_active": 0, "errors": 0}
        return self._json(200, {"ssh": idle, "http": dict(idle), "websocket": dict(idle)})

    def _note(self, who: Caller, op: str, kind: str, record_id: str) -> None:
        self.world.changed(who, op, record_id)
        self.world.touch(kind, record_id)
