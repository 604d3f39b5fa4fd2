curl -X POST 'https://comms.twilio.com/v1/PushNotifications' \
     -H 'Content-Type: application/json' \
     -d '{
          "to": [
            {
              "userId": "comms_user_01h9krwprkeee8fzqspvwy6nq8"
            }
          ],
          "content": {
            "title": "Welcome Back!",
            "body": "It looks like you have been away for a while. New offers are waiting for you."
          }
        }' \
     -u $TWILIO_ACCOUNT_SID:$TWILIO_AUTH_TOKEN
