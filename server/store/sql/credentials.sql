-- Who writes holds the account's row (accounts.sql, lock), so that the statements of one change see each other's effects.

-- name: new_id
select new_id()

-- name: get
select c.credential_id, c.credential_type, c.is_default, a.name as app_name, c.created_at, c.updated_at, c.not_after,
       h.state, h.since, h.until, h.reason, now() as now
from credentials c
join apps a using (account_id, app_id)
left join credential_health h on h.account_id = $1 and h.credential_id = c.credential_id and h.version = c.version
where c.account_id = $1 and c.credential_id = $2

-- name: newest
-- At or before $2, newest first.
select c.credential_id, c.credential_type, c.is_default, a.name as app_name, c.created_at, c.updated_at, c.not_after,
       h.state, h.since, h.until, h.reason, now() as now
from credentials c
join apps a using (account_id, app_id)
left join lateral (
  select state, since, until, reason from credential_health
  where account_id = $1 and credential_id = c.credential_id and version = c.version limit 1) h on true
where c.account_id = $1 and c.credential_id <= $2
  and ($4::text is null or a.name = $4)
  and ($5::smallint is null or c.credential_type = $5)
  and ($6::boolean is null or c.is_default = $6)
  and ($7::timestamptz is null or c.created_at >= $7) and ($8::timestamptz is null or c.created_at < $8)
order by c.credential_id desc limit $3

-- name: insert
insert into credentials (account_id, credential_id, app_id, credential_type, is_default, sealed, not_after)
values ($1, $2, $3, $4, $5, $6, $7)

-- name: yield_default
-- The app's default of the type, if there is one, is it no longer.
update credentials set is_default = false, updated_at = now()
where account_id = $1 and app_id = $2 and credential_type = $3 and is_default

-- name: take_default
update credentials set is_default = true, updated_at = now() where account_id = $1 and credential_id = $2

-- name: find
select app_id, credential_type, is_default from credentials where account_id = $1 and credential_id = $2

-- name: replace_content
update credentials set sealed = $3, not_after = $4, version = version + 1, updated_at = now()
where account_id = $1 and credential_id = $2

-- name: delete
-- Answers what it was, and how many credentials its app has without it.
delete from credentials c where c.account_id = $1 and c.credential_id = $2
returning c.app_id, c.credential_type, c.is_default,
          (select count(*) from credentials o
           where o.account_id = $1 and o.app_id = c.app_id and o.credential_id <> $2) as others

-- name: promote_oldest
-- Into the role of the app's default of the type, which was deleted.
update credentials set is_default = true, updated_at = now()
where account_id = $1
  and credential_id = (select credential_id from credentials
                       where account_id = $1 and app_id = $2 and credential_type = $3 order by credential_id limit 1)

-- name: of_app
select credential_id from credentials where account_id = $1 and app_id = $2
