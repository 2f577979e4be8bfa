"""The one door: every change to a workload or a route of a cluster goes through here."""

from services.actuator.actuator import Actuator
from services.actuator.mutation import Applied, Misplaced, Mutation, Superseded, Write

__all__ = ["Actuator", "Applied", "Misplaced", "Mutation", "Superseded", "Write"]
