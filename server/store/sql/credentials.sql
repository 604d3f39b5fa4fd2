-- Who writes holds the account's row (accounts.sql, lock), so that the statements of one change see each other's effects.

-- name: new_id
select new_id()

-- name: get
select c.credential_id, c.credential_type, c.is_default, a.name as app_name, c.created_at, c.updated_at
from credentials c join apps a using (account_id, app_id)
where c.account_id = $1 and c.credential_id = $2

-- name: insert
insert into credentials (account_id, credential_id, app_id, credential_type, is_default, sealed, not_after)
values ($1, $2, $3, $4, $5, $6, $7)

-- name: yield_default
-- The app's default of the type, if there is one, is it no longer.
update credentials set is_default = false, updated_at = now()
where account_id = $1 and app_id = $2 and credential_type = $3 and is_default
