module arpcinterop

go 1.19

require github.com/lesismal/arpc v1.2.17
