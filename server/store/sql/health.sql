-- name: lock
-- The credential, if its content still has the version $3: reports about one credential go one after the other, and none
-- is written about content that was replaced. What is known is read behind this, to see what others wrote meanwhile.
select true from credentials where account_id = $1 and credential_id = $2 and version = $3 for no key update

-- name: get
-- For those who hold the credential: it, and what is known against it.
select c.credential_id, c.credential_type, c.not_after, a.name as app_name, clock_timestamp() as now,
       h.state, h.since, h.until, h.reason
from credentials c
join apps a using (account_id, app_id)
left join credential_health h on h.account_id = $1 and h.credential_id = c.credential_id and h.version = c.version
where c.account_id = $1 and c.credential_id = $2

-- name: is_known
select exists (select from credential_health where account_id = $1 and credential_id = $2 and version = $3)

-- name: put
insert into credential_health (account_id, credential_id, version, state, since, until, reason)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (account_id, credential_id) do update
set version = excluded.version, state = excluded.state, since = excluded.since, until = excluded.until,
    reason = excluded.reason

-- name: remove
delete from credential_health where account_id = $1 and credential_id = $2 returning true
