curl -X POST 'https://comms.twilio.com/preview/PushNotifications' \
     -H 'Content-Type: application/json' \
     -d '{
          "to": [
            {
              "token": "FCM_DEVICE_TOKEN",
              "provider": "FCM",
              "variables": {
                "name": "Jessie"
              }
            },
            {
              "token": "APN_DEVICE_TOKEN",
              "provider": "APN",
              "variables": {
                "name": "James"
              }
            }
          ],
          "content": {
            "title": "New styles in stock!",
            "body": "Hey {{name}}, new colorways just dropped on your favorite silhouettes."
          }
        }' \
     -u $TWILIO_ACCOUNT_SID:$TWILIO_AUTH_TOKEN
