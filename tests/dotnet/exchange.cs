// SPDX-License-Identifier: MIT
//
// exchange write|read FILE        through a view accessor
// exchange stream-write|stream-read FILE   through BinaryWriter and BinaryReader on a view stream
//
// Writes a file by CreateFromFile, or reads one and says what is not as it would have written it. test_exchange.py has
// the same values in Python.

using System;
using System.Globalization;
using System.IO;
using System.IO.MemoryMappedFiles;
using System.Linq;
using System.Runtime.InteropServices;
using System.Text;

[StructLayout(LayoutKind.Sequential, Pack = 1)]
struct Point3 // 3 bytes, 4 apart in an array
{
    public byte Kind;
    public short Value;
}

[StructLayout(LayoutKind.Sequential, Pack = 1)]
struct Point5 // 5 bytes, 8 apart
{
    public byte Kind;
    public int Value;
}

struct Trade // 40 bytes, as the compiler aligns them
{
    public int Id;
    public bool Sell;
    public double Price;
    public short Venue;
    public char Currency;
    public long Time;
    public bool Settled;
}

// One value after the other, wherever that comes to lie: written, or read and compared.
class Table
{
    readonly MemoryMappedViewAccessor view;
    readonly bool writing;
    public long At;
    public int Values;

    public Table(MemoryMappedViewAccessor view, bool writing)
    {
        this.view = view;
        this.writing = writing;
    }

    void Check(string type, object read, object wanted, int size)
    {
        if (!writing && !read.Equals(wanted))
            Console.WriteLine("{0} at {1}: {2} instead of {3}", type, At, read, wanted);
        At += size;
        Values++;
    }

    public void Boolean(bool value)
    {
        if (writing) view.Write(At, value);
        Check("boolean", view.ReadBoolean(At), value, 1);
    }

    public void Byte(byte value)
    {
        if (writing) view.Write(At, value);
        Check("byte", view.ReadByte(At), value, 1);
    }

    public void SByte(sbyte value)
    {
        if (writing) view.Write(At, value);
        Check("sbyte", view.ReadSByte(At), value, 1);
    }

    public void Char(char value)
    {
        if (writing) view.Write(At, value);
        Check("char", (int)view.ReadChar(At), (int)value, 2);
    }

    public void Int16(short value)
    {
        if (writing) view.Write(At, value);
        Check("int16", view.ReadInt16(At), value, 2);
    }

    public void UInt16(ushort value)
    {
        if (writing) view.Write(At, value);
        Check("uint16", view.ReadUInt16(At), value, 2);
    }

    public void Int32(int value)
    {
        if (writing) view.Write(At, value);
        Check("int32", view.ReadInt32(At), value, 4);
    }

    public void UInt32(uint value)
    {
        if (writing) view.Write(At, value);
        Check("uint32", view.ReadUInt32(At), value, 4);
    }

    public void Int64(long value)
    {
        if (writing) view.Write(At, value);
        Check("int64", view.ReadInt64(At), value, 8);
    }

    public void UInt64(ulong value)
    {
        if (writing) view.Write(At, value);
        Check("uint64", view.ReadUInt64(At), value, 8);
    }

    public void Single(int bits)
    {
        if (writing) view.Write(At, BitConverter.Int32BitsToSingle(bits));
        Check("single", BitConverter.SingleToInt32Bits(view.ReadSingle(At)), bits, 4);
    }

    public void Double(long bits)
    {
        if (writing) view.Write(At, BitConverter.Int64BitsToDouble(bits));
        Check("double", BitConverter.DoubleToInt64Bits(view.ReadDouble(At)), bits, 8);
    }

    public void Decimal(decimal value)
    {
        if (writing) view.Write(At, value);
        Check("decimal", Text(view.ReadDecimal(At)), Text(value), 16);
    }

    public void Array<T>(T[] values, int stride) where T : struct
    {
        if (writing) view.WriteArray(At, values, 0, values.Length);
        var read = new T[values.Length];
        int count = view.ReadArray(At, read, 0, read.Length);
        Check(typeof(T).Name + "[]", count == values.Length && read.SequenceEqual(values), true, stride * values.Length);
    }

    public void Record<T>(T value, int size) where T : struct
    {
        if (writing) view.Write(At, ref value);
        T read;
        view.Read(At, out read);
        Check(typeof(T).Name, read, value, size);
    }

    // 1.10 equals 1.1 and 0 equals -0, but not here.
    static string Text(decimal value)
    {
        return string.Join(" ", decimal.GetBits(value).Select(word => word.ToString("x8")));
    }
}

class Writer : BinaryWriter
{
    public Writer(Stream stream) : base(stream)
    {
    }

    public void Write7Bit(int value)
    {
        Write7BitEncodedInt(value);
    }
}

class Reader : BinaryReader
{
    public Reader(Stream stream) : base(stream)
    {
    }

    public int Read7Bit()
    {
        return Read7BitEncodedInt();
    }
}

static class Exchange
{
    const int Capacity = 65536;

    static readonly int[] singles =
    {
        0, unchecked((int)0x80000000), 1, 0x007fffff, 0x00800000, 0x3f800000, unchecked((int)0xc0490fdb), 0x7f7fffff,
        unchecked((int)0xff7fffff), 0x7f800000, unchecked((int)0xff800000), 0x7fc00000, unchecked((int)0xffc12345),
        0x7f800001, unchecked((int)0xffbfffff), 0x7fffffff,
    };

    static readonly long[] doubles =
    {
        0, unchecked((long)0x8000000000000000), 1, 0x000fffffffffffff, 0x0010000000000000, 0x3ff0000000000000,
        unchecked((long)0xc00921fb54442d18), 0x7fefffffffffffff, unchecked((long)0xffefffffffffffff), 0x7ff0000000000000,
        unchecked((long)0xfff0000000000000), 0x7ff8000000000000, unchecked((long)0xfff8000000012345), 0x7ff0000000000001,
        unchecked((long)0xfff7ffffffffffff), 0x7fffffffffffffff,
    };

    static readonly decimal[] decimals =
    {
        0m, new decimal(0, 0, 0, true, 0), new decimal(0, 0, 0, false, 28), new decimal(0, 0, 0, true, 28),
        Parse("1"), Parse("1.1"), Parse("1.10"), Parse("-1.10"), decimal.MaxValue, decimal.MinValue,
        Parse("0.0000000000000000000000000001"), Parse("-0.0000000000000000000000000001"),
        Parse("7.9228162514264337593543950335"), Parse("-7922816251426433759354395033.5"),
        Parse("4294967296"), Parse("18446744073709551616"), Parse("12345678901234567890.12345678"),
    };

    static decimal Parse(string text)
    {
        return decimal.Parse(text, CultureInfo.InvariantCulture);
    }

    static int Main(string[] arguments)
    {
        string verb = arguments[0], path = arguments[1];
        bool writing = verb.EndsWith("write");
        var mode = writing ? FileMode.Create : FileMode.Open;
        using (var map = MemoryMappedFile.CreateFromFile(path, mode, null, writing ? Capacity : 0))
        {
            if (verb == "stream-write")
                using (var stream = map.CreateViewStream(0, 0))
                using (var writer = new Writer(stream))
                    Write(writer);
            else if (verb == "stream-read")
                using (var stream = map.CreateViewStream(0, 0, MemoryMappedFileAccess.Read))
                using (var reader = new Reader(stream))
                    Read(reader);
            else
                using (var view = map.CreateViewAccessor())
                    Values(new Table(view, writing));
        }
        return 0;
    }

    static void Values(Table table)
    {
        table.Boolean(true);
        table.Boolean(false);
        foreach (var value in new byte[] { 0, 1, 127, 128, 255 }) table.Byte(value);
        foreach (var value in new sbyte[] { 0, -1, sbyte.MinValue, sbyte.MaxValue }) table.SByte(value);
        foreach (var value in "\0A\u00e9\u20ac\ud800\udfff\ufffe\uffff") table.Char(value);
        foreach (var value in new short[] { 0, -1, short.MinValue, short.MaxValue, 0x1234 }) table.Int16(value);
        foreach (var value in new ushort[] { 0, 1, ushort.MaxValue, 0x1234 }) table.UInt16(value);
        foreach (var value in new[] { 0, -1, int.MinValue, int.MaxValue, 0x12345678 }) table.Int32(value);
        foreach (var value in new uint[] { 0, 1, uint.MaxValue, 0x12345678 }) table.UInt32(value);
        foreach (var value in new long[] { 0, -1, long.MinValue, long.MaxValue, 0x123456789abcdef0 }) table.Int64(value);
        foreach (var value in new ulong[] { 0, 1, ulong.MaxValue, 0x123456789abcdef0 }) table.UInt64(value);
        table.Byte(7); // from here on nothing is aligned
        foreach (int bits in singles) table.Single(bits);
        foreach (long bits in doubles) table.Double(bits);
        foreach (var value in decimals) table.Decimal(value);

        table.At = 4096 + 3;
        table.Array(new byte[] { 1, 2, 3, 250 }, 1);
        table.Array(new[] { true, false, true }, 1);
        table.Array(new short[] { -1, 2, short.MinValue }, 2);
        table.Array(new[] { -1, int.MinValue, int.MaxValue }, 4);
        table.Array(new[] { ulong.MaxValue, 1UL }, 8);
        table.Array(new[] { -0.5, double.MaxValue, double.NegativeInfinity }, 8);
        table.Array(new[] { 'A', '\u20ac', '\ud800' }, 2);
        table.Array(Enumerable.Range(0, 5).Select(i => new Point3 { Kind = (byte)i, Value = (short)(i * -1000) }).ToArray(), 4);
        table.Array(Enumerable.Range(0, 5).Select(i => new Point5 { Kind = (byte)i, Value = i * -100000 }).ToArray(), 8);
        table.Array(Enumerable.Range(0, 4).Select(Sale).ToArray(), 40);
        table.Record(new Point3 { Kind = 9, Value = -9 }, 3);
        table.Record(new Point5 { Kind = 9, Value = -9 }, 5);
        table.Record(Sale(9), 40);
        Console.WriteLine("{0} values, {1} bytes", table.Values, table.At);
    }

    static Trade Sale(int i)
    {
        return new Trade
        {
            Id = i, Sell = i % 2 == 1, Price = i * 1.25, Venue = (short)-i, Currency = (char)(0x20ac + i),
            Time = 1700000000000 + i, Settled = i % 3 == 0,
        };
    }

    // ---- BinaryWriter, BinaryReader

    static readonly int[] counts = { 0, 1, 127, 128, 300, 16383, 16384, 2097151, 2097152, int.MaxValue, -1, int.MinValue };

    static readonly string[] strings =
    {
        "", "A", new string('x', 127), new string('x', 128), new string('y', 16384), "Gr\u00fc\u00dfe \u20ac", "\u65e5\u672c\u8a9e",
        "\ud83d\ude00 \0 \uffff\n", new string('\u00e9', 64), // 128 bytes
    };

    static readonly byte[] bytes = { 0, 255, 128, 10, 13 };

    static void Write(Writer writer)
    {
        writer.Write(true);
        writer.Write((byte)200);
        writer.Write((sbyte)-100);
        writer.Write(short.MinValue);
        writer.Write(ushort.MaxValue);
        writer.Write(int.MinValue);
        writer.Write(uint.MaxValue);
        writer.Write(long.MinValue);
        writer.Write(ulong.MaxValue);
        writer.Write(BitConverter.Int32BitsToSingle(0x7fc12345));
        writer.Write(-1.5);
        foreach (var value in decimals) writer.Write(value);
        foreach (var value in "\0A\u00e9\u20ac\uffff") writer.Write(value);
        writer.Write("A\u00e9\ud83d\ude00z".ToCharArray());
        foreach (int value in counts) writer.Write7Bit(value);
        foreach (string value in strings) writer.Write(value);
        writer.Write(bytes);
        // Over what is there already, and far on.
        writer.Seek(40000, SeekOrigin.Begin);
        writer.Write("behind a gap");
        writer.Seek(-8, SeekOrigin.End);
        writer.Write(0x0807060504030201);
        Console.WriteLine("at " + writer.BaseStream.Position);
    }

    static void Check<T>(T read, T wanted)
    {
        if (!read.Equals(wanted))
            Console.WriteLine("{0}: {1} instead of {2}", typeof(T).Name, read, wanted);
    }

    static void Read(Reader reader)
    {
        Check(reader.ReadBoolean(), true);
        Check(reader.ReadByte(), (byte)200);
        Check(reader.ReadSByte(), (sbyte)-100);
        Check(reader.ReadInt16(), short.MinValue);
        Check(reader.ReadUInt16(), ushort.MaxValue);
        Check(reader.ReadInt32(), int.MinValue);
        Check(reader.ReadUInt32(), uint.MaxValue);
        Check(reader.ReadInt64(), long.MinValue);
        Check(reader.ReadUInt64(), ulong.MaxValue);
        Check(BitConverter.SingleToInt32Bits(reader.ReadSingle()), 0x7fc12345);
        Check(reader.ReadDouble(), -1.5);
        foreach (var value in decimals)
            Check(decimal.GetBits(reader.ReadDecimal()).SequenceEqual(decimal.GetBits(value)), true);
        foreach (var value in "\0A\u00e9\u20ac\uffff") Check(reader.ReadChar(), value);
        Check(new string(reader.ReadChars(5)), "A\u00e9\ud83d\ude00z");
        foreach (int value in counts) Check(reader.Read7Bit(), value);
        foreach (string value in strings) Check(reader.ReadString(), value);
        Check(reader.ReadBytes(5).SequenceEqual(bytes), true);
        reader.BaseStream.Seek(40000, SeekOrigin.Begin);
        Check(reader.ReadString(), "behind a gap");
        reader.BaseStream.Seek(-8, SeekOrigin.End);
        Check(reader.ReadInt64(), 0x0807060504030201);
        Check(reader.BaseStream.ReadByte(), -1);
        Console.WriteLine("at " + reader.BaseStream.Position);
    }
}
