-- name: insert
with account as (
  insert into accounts (account_id, name, auth_token_hash) values (gen_random_uuid(), $1, $2) returning account_id)
insert into feeds (account_id) select account_id from account returning account_id

-- name: insert_key
insert into api_keys (key_id, account_id, name, secret_hash) values (gen_random_uuid(), $1, $2, $3) returning key_id

-- name: account_identity
select account_id, auth_token_hash as secret_hash from accounts where account_id = $1

-- name: account_time
select clock_timestamp() from accounts where account_id = $1

-- name: key_identity
select account_id, secret_hash from api_keys where key_id = $1

-- name: lock
-- Writers of an account's apps and credentials go one after the other.
select from accounts where account_id = $1 for no key update
