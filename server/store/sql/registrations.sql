-- Locks are taken in this order everywhere: app, devices (by provider and hash), users (by id), registrations (by id).

-- name: claim_token
-- The app, kept from being deleted, and the token's device, which nobody else can move or remove until we end.
with app as materialized (
  select app_id from apps
  where account_id = $1 and (name = $2 or ($2::text is null and is_default))
  for key share),
device as materialized (
  select d.user_id, d.registration_id from devices d
  where d.account_id = $1 and d.app_id = (select app_id from app) and d.provider = $3 and d.token_hash = $4
  for update)
select app.app_id, device.user_id as holder_id, device.registration_id as held_in
from app left join device on true

-- name: refresh
-- The user has the device already. Where it belongs is open again: the app may be another build now.
update devices set registered_at = now(), environment = null
where account_id = $1 and app_id = $2 and provider = $3 and token_hash = $4
returning registration_id

-- name: lock_people
-- The user who gets the device ($3) and the one who had it, with their registrations. Answers the one who gets it.
with people as materialized (
  select user_id, deleted_at from users where account_id = $1 and user_id in ($3::uuid, $4::uuid)
  order by user_id for no key update),
registrations as materialized (
  select registration_id from device_registrations
  where account_id = $1 and app_id = $2 and user_id in ($3::uuid, $4::uuid)
    and (select count(*) from people) > 0  -- people first
  order by registration_id for update)
select people.user_id is not null as known, people.deleted_at
from (select count(*) from registrations) as locked left join people on people.user_id = $3::uuid

-- name: count_devices
select count(*) from devices where account_id = $1 and app_id = $2 and user_id = $3

-- name: put_device
-- Gives the device, $6 as it is in the table ($7 its registration, $8 its user) or new, to the user, or to a new one.
-- No row: somebody else registered the token since claim_token looked for it.
with person as (
  insert into users (account_id) select $1 where $3::uuid is null returning user_id),
owner as (
  select coalesce($3::uuid, (select user_id from person)) as user_id),
registration as (
  insert into device_registrations (account_id, app_id, user_id) select $1, $2, user_id from owner
  on conflict (account_id, user_id, app_id) do update set updated_at = now()
  returning registration_id, user_id),
moved as (
  update devices d
  set registration_id = r.registration_id, user_id = r.user_id, added = default, registered_at = now(),
      environment = null
  from registration r
  where $7::uuid is not null
    and d.account_id = $1 and d.app_id = $2 and d.provider = $4 and d.token_hash = $5
  returning d.registration_id),
added as (
  insert into devices (account_id, app_id, provider, token_hash, token, registration_id, user_id)
  select $1, $2, $4, $5, $6, r.registration_id, r.user_id from registration r where $7::uuid is null
  on conflict do nothing
  returning registration_id),
emptied as (
  delete from device_registrations r
  where r.account_id = $1 and r.registration_id = $7
    and not exists (select from devices d where d.account_id = $1 and d.registration_id = $7
                                            and (d.provider, d.token_hash) <> ($4, $5))),
touched as (
  update users set updated_at = now() where account_id = $1 and user_id in ($3::uuid, $8::uuid))
select registration_id from moved union all select registration_id from added

-- name: get
select r.registration_id, r.user_id, a.name as app_name,
       array(select (d.provider, d.token) from devices d
             where d.account_id = $1 and d.registration_id = r.registration_id order by d.added) as devices
from device_registrations r join apps a using (account_id, app_id)
where r.account_id = $1 and r.registration_id = $2

-- name: newest
-- A user's, at or before $3, newest first, of one app or of all.
select r.registration_id, r.user_id, a.name as app_name,
       array(select (d.provider, d.token) from devices d
             where d.account_id = $1 and d.registration_id = r.registration_id order by d.added) as devices
from device_registrations r join apps a using (account_id, app_id)
where r.account_id = $1 and r.user_id = $2 and r.registration_id <= $3 and ($5::text is null or a.name = $5)
order by r.registration_id desc limit $4

-- name: user_exists
select exists (select from users where account_id = $1 and user_id = $2)

-- name: owner
select user_id from device_registrations where account_id = $1 and registration_id = $2

-- name: lock_devices
-- Of one registration: all of its devices, or the one given; answers how many.
with locked as materialized (
  select from devices
  where account_id = $1 and registration_id = $2
    and ($3::smallint is null or (provider = $3 and token_hash = $4::bytea))
  order by app_id, provider, token_hash for update)
select count(*) from locked

-- name: lock_owner
-- Touches the user, which from here on gets no more devices.
update users set updated_at = now() where account_id = $1 and user_id = $2

-- name: lock
select registration_id from device_registrations where account_id = $1 and registration_id = $2 for update

-- name: count_devices_in
select count(*) from devices where account_id = $1 and registration_id = $2

-- name: lock_late_devices
-- Those that came before the user was locked, without waiting: who holds one may wait for the user. Answers whether
-- all are ours now.
with locked as materialized (
  select from devices where account_id = $1 and registration_id = $2 for update skip locked)
select (select count(*) from locked) = (select count(*) from devices where account_id = $1 and registration_id = $2)

-- name: delete_device
delete from devices where account_id = $1 and registration_id = $2 and provider = $3 and token_hash = $4

-- name: delete
-- Its devices go with it.
delete from device_registrations where account_id = $1 and registration_id = $2
