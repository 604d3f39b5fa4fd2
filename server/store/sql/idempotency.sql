-- name: claim
-- A row that an earlier transaction left is taken over when it has expired. While one with the same key is still
-- running, this waits for its end.
insert into idempotency_keys as k (account_id, method, key, fingerprint) values ($1, $2, $3, $4)
on conflict (account_id, method, key) do update
  set fingerprint = excluded.fingerprint, response = null, created_at = excluded.created_at
  where k.created_at < now() - interval '24 hours'
returning true

-- name: find
select fingerprint, response from idempotency_keys
where account_id = $1 and method = $2 and key = $3 and created_at >= now() - interval '24 hours'

-- name: finish
update idempotency_keys set response = $4 where account_id = $1 and method = $2 and key = $3

-- name: expire
delete from idempotency_keys where created_at < now() - interval '24 hours'
