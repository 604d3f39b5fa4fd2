curl -X POST 'https://comms.twilio.com/v1/PushNotifications/DeviceRegistrations' \
     -H 'Content-Type: application/json' \
     -d '{
          "userId": "comms_user_01h9krwprkeee8fzqspvwy6nq8",
          "token": "odJFCrnl2edlBDdz1C5Ja:APA91bu2RJtBRnlWmTSHf6pWkLUyifDLkDmWJ6UuVTAIjvFu7WICPhDeOZIiBOB-Y6sHrFH2ZUCr-lgotu2iXW7GboIRoL3u6aHwnMztVuaP_coUNEhEkk_iqq8vH2BzNZV45pFCiRcD",
          "appName": "test_app",
          "provider": "FCM"
        }' \
     -u $TWILIO_ACCOUNT_SID:$TWILIO_AUTH_TOKEN
