module otelmesh/e2e/tools/app

go 1.26.0
