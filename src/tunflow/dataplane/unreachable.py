"""What a kernel's refusal to reach somewhere means to a client: the ICMP message that says the same."""

from __future__ import annotations

import errno

from tunflow.stack.icmp import Reason

REASONS = {
    errno.ENETUNREACH: Reason.NET,
    errno.EHOSTUNREACH: Reason.HOST,
    errno.EHOSTDOWN: Reason.HOST,
    errno.EADDRNOTAVAIL: Reason.NET,
    errno.EACCES: Reason.ADMIN_PROHIBITED,
    errno.EPERM: Reason.ADMIN_PROHIBITED,
}
"""By errno."""
