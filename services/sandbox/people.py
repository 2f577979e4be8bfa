"""Who there is: the person at this machine and the two who approve changes, with their accounts in the ticket system."""

import os
import pwd
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Somebody:
    name: str
    login: str

    @property
    def account(self) -> str:
        return f"acc-{self.login}"


APPROVERS = (Somebody("Alex Rivera", "alex.rivera"), Somebody("Sam Chen", "sam.chen"))


def operator() -> Somebody:
    """The user of this process: the one who deploys, and so never the one who approves."""
    # By the account database, as the console reads it: not by $USER or $LOGNAME.
    try:
        login = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        login = f"uid-{os.getuid()}"
    return Somebody(login.replace(".", " ").title(), login)
