curl -X GET 'https://comms.twilio.com/v1/PushNotifications/DeviceRegistrations/{DeviceRegistrationId}' \
     -H 'Content-Type: application/json' \
     -u $TWILIO_ACCOUNT_SID:$TWILIO_AUTH_TOKEN
