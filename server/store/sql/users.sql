-- name: get
select user_id, created_at, updated_at, deleted_at from users where account_id = $1 and user_id = $2
