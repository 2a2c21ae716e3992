# A machine of 512 bytes: a still picture below, and one line of text above that shows what is typed.
# Every character, once it is shown, goes to I/O port 0xe9, QEMU's debug console, so that a test reads what arrived.
# Return empties the line and is written as a line feed, as is the end of the start. Nothing moves by itself.

.code16
.globl _start

.set TYPED_ROW, 6               # of 25, 40 characters each
.set VIDEO, 0xa000              # mode 13h: 320 x 200, one byte a pixel
.set WIDTH, 320
.set PICTURE_TOP, 100

_start:
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %ss
    mov $_start, %sp
    mov $0x0013, %ax            # set video mode 13h
    int $0x10

    mov $greeting, %si
    mov $0x000a, %bx            # page 0, light green
greet:
    lodsb
    test %al, %al
    jz paint
    mov $0x0e, %ah              # teletype output
    int $0x10
    jmp greet

paint:                          # colour = x xor y, all 256 of the palette
    push $VIDEO
    pop %es
    mov $(PICTURE_TOP * WIDTH), %di
    mov $PICTURE_TOP, %dx       # y
row:
    xor %cx, %cx                # x
pixel:
    mov %cl, %al
    xor %dl, %al
    stosb
    inc %cx
    cmp $WIDTH, %cx
    jb pixel
    inc %dx
    cmp $200, %dx
    jb row

empty_line:
    call to_line
    mov $0x0a20, %ax            # write spaces,
    mov $0x000e, %bx            # page 0, yellow,
    mov $40, %cx                # a whole line of them
    int $0x10
    call to_line
    mov $'\n', %al
    outb %al, $0xe9

next_key:
    xor %ah, %ah                # wait for a key; the BIOS halts meanwhile
    int $0x16
    test %al, %al               # a key without a character
    jz next_key
    cmp $'\r', %al
    je empty_line
    push %ax
    mov $0x0e, %ah
    mov $0x000e, %bx
    int $0x10
    pop %ax
    outb %al, $0xe9
    jmp next_key

to_line:
    mov $0x02, %ah              # set the cursor
    xor %bh, %bh
    mov $(TYPED_ROW << 8), %dx
    int $0x10
    ret

greeting:
    .asciz "\r\n rfbproxy test machine\r\n\r\n Typed keys are shown here:\r\n"

.org 510
    .word 0xaa55
