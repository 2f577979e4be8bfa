"""Whom metrics are asked for: one service, and what tells its two versions apart."""

from collections.abc import Mapping

import msgspec

from services.analysis.windows import ArmName


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One version as it runs now: the workload that its pods belong to, its version, and the names of its pods."""

    workload: str
    version: str
    pods: tuple[str, ...] = ()


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A service under rollout. ``route`` is its Ingress, where that is not called as the service is."""

    namespace: str
    service: str
    versions: Mapping[ArmName, Version]
    route: str = ""

    @property
    def there(self) -> frozenset[ArmName]:
        """The versions that have pods."""
        return frozenset(arm for arm, version in self.versions.items() if version.pods)

    @property
    def apart(self) -> bool:
        """Whether each version has a workload of its own; without a canary's, both run in one."""
        return self.versions[ArmName.CANARY].workload != self.versions[ArmName.STABLE].workload

    def values(self, arm: ArmName) -> dict[str, str]:
        """What stands for each placeholder of a query, but for ``pods`` and ``window``."""
        own = self.versions[arm]
        return {
            "namespace": self.namespace,
            "service": self.service,
            "workload": own.workload,
            "version": own.version,
            "arm": arm.value,
        }
