// Stands in for the documents' `twilio-comms`, which no registry has: their names and arguments, and the types and
// requests of a client made from our own OpenAPI document.
import createClient from "openapi-fetch";

import type { components, paths } from "../schema.js";

interface Options {
  accountId: string;
  authToken: string;
  environment?: string;
}

type Device = components["schemas"]["RegisterDeviceRequest"];
type UserPage = NonNullable<paths["/PushNotifications/Users"]["get"]["parameters"]["query"]>;

export class TwilioClient {
  readonly pushNotifications;

  constructor({ accountId, authToken, environment = "https://comms.twilio.com" }: Options) {
    const headers = { Authorization: `Basic ${btoa(`${accountId}:${authToken}`)}` };
    const rest = createClient<paths>({ baseUrl: `${environment}/v1`, headers });
    const user = (userId: string) => ({ params: { path: { userId } } });
    this.pushNotifications = {
      deviceRegistrations: {
        register: (body: Device) => answer(rest.POST("/PushNotifications/DeviceRegistrations", { body })),
      },
      users: {
        fetch: (userId: string) => answer(rest.GET("/PushNotifications/Users/{userId}", user(userId))),
        list: (query: UserPage = {}) => answer(rest.GET("/PushNotifications/Users", { params: { query } })),
        delete: (userId: string) => answer(rest.DELETE("/PushNotifications/Users/{userId}", user(userId))),
      },
    };
  }
}

type Answer<T> = { data: T; error?: never } | { data?: never; error: components["schemas"]["Error"] };

async function answer<T>(call: Promise<Answer<T>>): Promise<T> {
  const { data, error } = await call;
  if (error !== undefined) {
    throw new Error(error.errors.map(({ code, message }) => `${code}: ${message}`).join("\n"));
  }
  return data;
}
