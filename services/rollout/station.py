"""What a rollout needs of the process it runs in. The command line's and the console's context is one."""

from pathlib import Path
from typing import Protocol

from services.audit import Journal
from services.clock import Clock
from services.cluster.connection import Clusters
from services.model.gates import Person
from services.settings import Settings
from services.settings.secrets import SecretRegister


class Station(Protocol):
    """``config`` is the configuration file that was read; ``user`` names the operator in the journal."""

    @property
    def settings(self) -> Settings: ...
    @property
    def home(self) -> Path: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def journal(self) -> Journal: ...
    @property
    def clusters(self) -> Clusters: ...
    @property
    def operator(self) -> Person | None: ...
    @property
    def redactor(self) -> SecretRegister: ...
    @property
    def read_only(self) -> bool: ...
    @property
    def config(self) -> Path | None: ...
    @property
    def user(self) -> str: ...
