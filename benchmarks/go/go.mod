module arpcbench

go 1.21

require github.com/lesismal/arpc v1.2.17
