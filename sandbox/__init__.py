"""A faithful local FCM, Google OAuth and APNs: strict, scriptable, and with a ledger of what it accepted.

It shares no code with the server that it judges. Start it with ``python -m sandbox --dir D``, or inside a test:

    async with Sandbox.start(directory) as sandbox:
        sandbox.urls.fcm, sandbox.ledger.entries(), sandbox.rules.load(b'[{"provider": "APN", "status": 503}]')
"""

from sandbox.rules import Rule
from sandbox.service import Ports, Sandbox, Urls

__all__ = ["Ports", "Rule", "Sandbox", "Urls"]
