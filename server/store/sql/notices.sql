-- name: write
-- The next number of the feed. Locks the feed, so it comes last in its transaction.
with fed as (update feeds set last_seq = last_seq + 1 where account_id = $1 returning last_seq)
insert into notices (account_id, seq, kind, body) select $1, fed.last_seq, $2, $3::jsonb from fed

-- name: app_of
select app_name from operations where account_id = $1 and operation_id = $2
