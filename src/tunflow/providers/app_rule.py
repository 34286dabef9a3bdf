"""Which programs a tunnel is for: NEAppRule, said the way Linux knows a program."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from tunflow.errors import LocalError
from tunflow.flow import ProcessInfo
from tunflow.providers import check


@dataclass(frozen=True, slots=True)
class AppRule:
    """NEAppRule: a flow matches when every condition that is given holds; at least one is.

    `match_path` is the executable's absolute path, with `*` and `?` as wildcards; `match_cgroup` a control group and
    all below it; `match_domains` suffixes of the host name, for flows whose name is known.
    """

    match_path: str | None = None
    match_uid: int | None = None
    match_cgroup: str | None = None
    match_domains: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if all(value is None for value in (self.match_path, self.match_uid, self.match_cgroup, self.match_domains)):
            raise LocalError("AppRule: nothing to match: expected match_path, match_uid, match_cgroup or match_domains")
        if self.match_path is not None and not PurePosixPath(self.match_path).is_absolute():
            raise LocalError(f"AppRule.match_path: {self.match_path!r} is not an absolute path like /usr/bin/curl")
        if self.match_uid is not None:
            check.within("AppRule.match_uid", self.match_uid, 0, 2**32 - 2)
        if self.match_cgroup is not None and not self.match_cgroup.startswith("/"):
            raise LocalError(f"AppRule.match_cgroup: {self.match_cgroup!r} is not a path like /user.slice")
        if self.match_domains is not None:
            names = check.texts("AppRule.match_domains", self.match_domains)
            domains = tuple(check.domain("AppRule.match_domains", name) for name in names)
            object.__setattr__(self, "match_domains", domains)

    def matches(self, program: ProcessInfo | None, hostname: str | None) -> bool:
        """Return True if a flow of `program` to a host is one of these. What is not known matches no condition."""
        if self.match_path is not None and (
            program is None or program.executable is None or not fnmatchcase(program.executable, self.match_path)
        ):
            return False
        if self.match_uid is not None and (program is None or program.uid != self.match_uid):
            return False
        if self.match_cgroup is not None:
            group = None if program is None else program.cgroup
            wanted = self.match_cgroup.rstrip("/")
            if group is None or not (group == wanted or group.startswith(wanted + "/")):
                return False
        if self.match_domains is not None:
            name = (hostname or "").lower().rstrip(".")
            if not any(not domain or name == domain or name.endswith("." + domain) for domain in self.match_domains):
                return False
        return True
