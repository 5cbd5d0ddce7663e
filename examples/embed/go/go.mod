module mayfly/invoke

go 1.19
