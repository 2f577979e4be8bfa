"""For tests of checks that must not break."""


def unexpected(error: Exception) -> str:
    """The report of a check that broke: it fails the test."""
    raise AssertionError("a check broke") from error
