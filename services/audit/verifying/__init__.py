"""The parts of ``services/audit/verify.py``. They share nothing with the code that writes a journal."""
