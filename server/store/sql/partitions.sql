-- name: make
select make_partitions($1, $2)
