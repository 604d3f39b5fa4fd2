"""Made-up requests, one for each RPC that takes a body, and values for what stands in paths."""

from __future__ import annotations

from typing import Any, Final

_SUFFIX: Final = "01m818dajnef5v6crkh2aztg00"
_USER: Final = f"comms_pushnotificationuser_{_SUFFIX}"
_CREDENTIAL: Final = f"comms_credential_{_SUFFIX}"
_TOKEN: Final = "dQw4w9WgXcQ:APA91bH-made-up-token"  # noqa: S105 - of no device

BODIES: Final[dict[str, dict[str, Any]]] = {
    "SendPushNotification": {
        "to": [
            {"userId": _USER, "variables": {"name": "Jessie"}},
            {"token": _TOKEN, "provider": "FCM", "variables": {"name": "Robin"}},
        ],
        "content": {"title": "New styles in stock!", "body": "Hey {{name}}, new colorways just dropped."},
        "from": {"appName": "shop"},
        "priority": "HIGH",
        "ttl": 86400,
        "tags": {"campaign": "spring"},
    },
    "RegisterDevice": {"appName": "shop", "token": _TOKEN, "provider": "FCM", "userId": _USER},
    "BatchRegisterDevices": {
        "registrations": [
            {"appName": "shop", "token": _TOKEN, "provider": "FCM"},
            {
                "appName": "shop",
                "token": "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0",
                "provider": "APN",
            },
        ]
    },
    "CreateCredential": {
        "credentialType": "FCM",
        "content": {"privateKey": "eyJ0eXBlIjogInNlcnZpY2VfYWNjb3VudCIsICIuLi4iOiAiIn0="},
        "appName": "shop",
        "isDefault": True,
    },
    "UpdateCredential": {"isDefault": True},
    "UpdateApp": {"isDefault": True},
    "CreateStreamToken": {"operationId": f"comms_operation_{_SUFFIX}", "ttl": 300},
    "CreateWebhook": {
        "url": "https://hooks.example.com/pharos",
        "eventTypes": ["pharos.recipients.changed", "pharos.operation.completed"],
        "description": "the shop's",
    },
    "ReplayWebhookDeliveries": {"deliveryIds": [f"comms_webhook_delivery_{_SUFFIX}"]},
}

PATHS: Final = {
    "app_name": "shop",
    "credential_id": _CREDENTIAL,
    "device_registration_id": f"comms_device_registration_{_SUFFIX}",
    "operation_id": f"comms_operation_{_SUFFIX}",
    "push_notification_id": f"comms_pushnotification_{_SUFFIX}",
    "user_id": _USER,
    "webhook_id": f"comms_webhook_{_SUFFIX}",
}
