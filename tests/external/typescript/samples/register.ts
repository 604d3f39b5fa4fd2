import { TwilioClient } from "twilio-comms";

async function main() {
  const client = new TwilioClient({
    accountId: "YOUR_ACCOUNTID_HERE",
    authToken: "YOUR_AUTHTOKEN_HERE",
  });
  await client.pushNotifications.deviceRegistrations.register({
    appName: "limonade_app",
    token: "dqWD7WEC83K41WHyufTS7:APA91bFcrVaOLqKeJfSiEutJXX2Tr9wN_tYOwYd8rFA6mYUMBFqdz9n6k3v5EpFA_ukXD89hGqG3OarzbVfdjGnLOIAQfwbQcqJkjQWMrhwElrtU1y3JLDPfnjc0eTJLxzhyYvDFopEh",
    provider: "FCM",
    userId: "comms_pushnotificationuser_01h9krwprkeee8fzqspvwy6nq8",
  });
}
main();
