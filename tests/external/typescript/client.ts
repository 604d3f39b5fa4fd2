// A client as one makes it from the OpenAPI document alone: a send with much of what there is, followed to its end.
import createClient from "openapi-fetch";

import type { components, paths } from "./schema.js";

const rest = createClient<paths>({
  baseUrl: "https://comms.twilio.com/v1",
  headers: { Authorization: `Basic ${btoa("<username>:<password>")}` },
});

const send = () =>
  rest.POST("/PushNotifications", {
    params: { header: { "Idempotency-Key": "outside-client" } },
    body: {
      to: [
        { token: "FCM_DEVICE_TOKEN", provider: "FCM", variables: { name: "Jessie", points: [1, 2] } },
        { userId: "comms_pushnotificationuser_01h9krwprkeee8fzqspvwy6nq8" },
      ],
      content: { title: "Hello", body: "Hey {{ name | default: 'you' }}, you have {{ points | sum }} points." },
      from: { appName: "limonade_app" },
      priority: "LOW",
      data: { screen: "points" },
      tags: { campaign: "outside" },
      ttl: 3600,
      overrides: { fcm: { fcm_options: { analytics_label: "outside" } } },
    },
  });
const first = await send();
const again = await send();
const operationId: string | undefined = first.data?.operationId;
if (operationId === undefined) {
  throw new Error(JSON.stringify(first.error));
}

const path = { operationId };
const events = await rest.GET("/PushNotifications/Operations/{operationId}/Events", {
  params: { path },
  parseAs: "text",
});
const operation = await rest.GET("/PushNotifications/Operations/{operationId}", { params: { path } });
const status: components["schemas"]["OperationStatus"] | undefined = operation.data?.status;
const listed = await rest.GET("/PushNotifications", {
  params: { query: { operationId, status: "SENT", pageSize: 10 } },
});
const refused = await rest.POST("/PushNotifications", { body: { to: [], content: { body: "Hello" } } });

console.log(
  JSON.stringify({
    replayed: [again.data?.operationId === operationId, again.response.headers.get("Idempotent-Replayed")],
    ended: String(events.data).includes("event: end"),
    status,
    sent: operation.data?.stats?.sent,
    listed: listed.data?.notifications.map((notification) => [notification.status, notification.tags["campaign"]]),
    next: listed.data?.pagination?.next,
    refused: refused.error?.errors.map(({ code, context }) => [code, context]),
  }),
);
