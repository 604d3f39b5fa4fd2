-- name: get
select a.app_id, a.name, a.is_default, a.created_at, a.updated_at,
       array(select (c.credential_type, c.credential_id) from credentials c
             where c.account_id = $1 and c.app_id = a.app_id and c.is_default order by c.credential_type) as defaults
from apps a
where a.account_id = $1 and a.name = $2

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
