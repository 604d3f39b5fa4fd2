curl -X POST 'https://comms.twilio.com/preview/PushNotifications' \
     -H 'Content-Type: application/json' \
     -d '{
          "to": [
            {
              "token": "FCM_DEVICE_TOKEN",
              "provider": "FCM"
            }
          ],
          "content": {
            "title": "Your flight details",
            "body": "Hello, your flight is leaving soon! Tap for details"
          }
        }' \
     -u $TWILIO_ACCOUNT_SID:$TWILIO_AUTH_TOKEN
