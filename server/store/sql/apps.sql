-- name: get
select a.app_id, a.name, a.is_default, a.created_at, a.updated_at,
       array(select (c.credential_type, c.credential_id) from credentials c
             where c.account_id = $1 and c.app_id = a.app_id and c.is_default order by c.credential_type) as defaults
from apps a
where a.account_id = $1 and a.name = $2

-- name: newest
-- At or before $2, newest first.
select a.app_id, a.name, a.is_default, a.created_at, a.updated_at,
       array(select (c.credential_type, c.credential_id) from credentials c
             where c.account_id = $1 and c.app_id = a.app_id and c.is_default order by c.credential_type) as defaults
from apps a
where a.account_id = $1 and a.app_id <= $2
  and ($4::boolean is null or a.is_default = $4)
  and ($5::timestamptz is null or a.created_at >= $5) and ($6::timestamptz is null or a.created_at < $6)
order by a.app_id desc limit $3

-- name: find
-- For those who hold the account's row.
select app_id, is_default from apps where account_id = $1 and name = $2

-- name: appeared
-- Whether one of the apps named, or with $3 the default one, is there.
select exists (select from apps where account_id = $1 and (name = any($2::text[]) or ($3 and is_default)))

-- name: yield_default
update apps set is_default = false, updated_at = now() where account_id = $1 and is_default

-- name: take_default
update apps set is_default = true, updated_at = now() where account_id = $1 and app_id = $2

-- name: promote_oldest
-- Into the role of the default app that was deleted.
update apps set is_default = true, updated_at = now()
where account_id = $1 and app_id = (select app_id from apps where account_id = $1 order by app_id limit 1)

-- name: today
select (now() at time zone 'utc')::date

-- name: days
-- The app's days from $3 to $4, both included; one row without a day where there is none, no row without the app.
select d.day, d.sent, d.failed, d.canceled, d.unaddressable
from apps a
left join app_days d on d.account_id = a.account_id and d.app_id = a.app_id and d.day between $3 and $4
                    and d.sent + d.failed + d.canceled + d.unaddressable > 0
where a.account_id = $1 and a.name = $2
order by d.day

-- name: find_for_credential
-- The app named, or the default one, with its credentials of all types and of this one; and the account's apps.
select a.app_id, (select count(*) from apps where account_id = $1) as apps,
       count(c.credential_id) as credentials, count(c.credential_id) filter (where c.credential_type = $3) as of_type
from (select) as always
left join apps a on a.account_id = $1 and (a.name = $2 or ($2::text is null and a.is_default))
left join credentials c on c.account_id = a.account_id and c.app_id = a.app_id
group by a.app_id

-- name: insert
insert into apps (account_id, name, is_default) values ($1, $2, $3) returning app_id

-- name: touch
update apps set updated_at = now() where account_id = $1 and app_id = $2

-- Deleting an app takes the locks in the order of registrations.sql, so that whoever removes one of its devices
-- meanwhile is waited for. With the app locked nobody registers a device under it.

-- name: lock
select from apps where account_id = $1 and app_id = $2 for update

-- name: lock_devices
with locked as materialized (
  select from devices where account_id = $1 and app_id = $2
  order by app_id, provider, token_hash for update)
select count(*) from locked

-- name: touch_users
-- Those who have devices under the app.
with people as materialized (
  select user_id from users
  where account_id = $1
    and user_id in (select user_id from device_registrations where account_id = $1 and app_id = $2)
  order by user_id for no key update)
update users u set updated_at = now() from people where u.account_id = $1 and u.user_id = people.user_id

-- name: lock_registrations
with locked as materialized (
  select from device_registrations where account_id = $1 and app_id = $2 order by registration_id for update)
select count(*) from locked

-- name: delete
-- Its registrations and devices go with it.
delete from apps where account_id = $1 and app_id = $2 returning is_default
