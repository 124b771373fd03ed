"""What is wrong with a set-up: each way in which one is known to go wrong is a small function in a table.

    report = examine(Patient(client, broker))
    for finding in report.findings: ...

Nothing is changed by it. `sesmail doctor` prints it; a worker tells in its log what concerns its start.
"""

from sesmail.doctor.examining import Report, Unseen, examine, in_order
from sesmail.doctor.patient import BrokerSetup, Patient
from sesmail.doctor.table import CHECKS, Check, Finding, Level

__all__ = ["CHECKS", "BrokerSetup", "Check", "Finding", "Level", "Patient", "Report", "Unseen", "examine", "in_order"]
