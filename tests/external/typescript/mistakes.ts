// What the compiler has to refuse: types that let everything pass would prove nothing. Compiled, never run.
import createClient from "openapi-fetch";
import { TwilioClient } from "twilio-comms";

import type { components, paths } from "./schema.js";

const client = new TwilioClient({ accountId: "", authToken: "" });
// @ts-expect-error a device needs its token
await client.pushNotifications.deviceRegistrations.register({ provider: "FCM" });
// @ts-expect-error and its provider, by the name that it has
await client.pushNotifications.deviceRegistrations.register({ token: "t", provider: "fcm" });
// @ts-expect-error nothing unknown
await client.pushNotifications.deviceRegistrations.register({ token: "t", provider: "FCM", appname: "test_app" });
// @ts-expect-error a number
await client.pushNotifications.users.list({ pageSize: "50" });

const rest = createClient<paths>();
// @ts-expect-error there is no such path
await rest.GET("/PushNotifications/Devices");
// @ts-expect-error a list of registrations needs its user
await rest.GET("/PushNotifications/DeviceRegistrations");

// @ts-expect-error a recipient is a token or a user, not both
export const recipient: components["schemas"]["RecipientInput"] = { token: "t", provider: "FCM", userId: "u" };
