// SPDX-License-Identifier: MIT
//
// Does what it is told, one step a line, and says what came of it: the .NET side of the behaviour table and of live
// sharing. Steps come from the file named by the first argument, or from the standard input.
//
//     in    STEP <tab> OBJECT <tab> ARGUMENT ...
//     out   =VALUE                          it worked
//           !EXCEPTION <tab> PARAM <tab> MESSAGE   it raised
//           ?                               an object that it needs is not there, as an earlier step failed
//
// dotnet_steps.py does the same with memorymapped; there the steps are described. "-" as a name or an array is null. Single
// and double are their bits, a char is its number, a decimal its four words, a string its UTF-16 units, all in hex.

using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using System.Text;

[StructLayout(LayoutKind.Sequential, Pack = 1)]
struct Packed3
{
    public byte A;
    public ushort B;
}

[StructLayout(LayoutKind.Sequential, Pack = 1)]
struct Packed5
{
    public byte A;
    public uint B;
}

struct Natural
{
    public int A;
    public bool B;
    public int C;
    public char D;
    public bool E;
}

class MissingException : Exception
{
}

class SevenBitReader : BinaryReader
{
    public SevenBitReader(Stream stream, Encoding encoding) : base(stream, encoding, true)
    {
    }

    public int Read7Bit()
    {
        return Read7BitEncodedInt();
    }
}

class SevenBitWriter : BinaryWriter
{
    public SevenBitWriter(Stream stream, Encoding encoding) : base(stream, encoding, true)
    {
    }

    public void Write7Bit(int value)
    {
        Write7BitEncodedInt(value);
    }
}

static class Peer
{
    static readonly Dictionary<string, object> objects = new Dictionary<string, object>();
    static readonly CultureInfo plain = CultureInfo.InvariantCulture;

    [DllImport("libc", SetLastError = true)]
    static extern int chmod(string path, int mode);

    [DllImport("libc")]
    static extern int unlink(string path);

    [DllImport("libc")]
    static extern int rmdir(string path);

    [DllImport("libc", SetLastError = true)]
    static extern int mkfifo(string path, int mode);

    [DllImport("libc", SetLastError = true)]
    static extern int symlink(string target, string path);

    static int Main(string[] arguments)
    {
        var output = new StreamWriter(Console.OpenStandardOutput(), new UTF8Encoding(false), 1 << 16);
        output.AutoFlush = arguments.Length == 0;
        var input = arguments.Length == 0 ? Console.In : new StreamReader(arguments[0], Encoding.UTF8);
        for (string line; (line = input.ReadLine()) != null;)
        {
            string answer;
            try
            {
                answer = "=" + Step(line.Split('\t'));
            }
            catch (MissingException)
            {
                answer = "?";
            }
            catch (Exception error)
            {
                var argument = error as ArgumentException;
                answer = "!" + error.GetType().Name + "\t" + (argument == null ? "" : argument.ParamName) + "\t"
                    + error.Message.Replace('\t', ' ').Replace('\r', ' ').Replace('\n', ' ');
            }
            output.Write(answer + "\n");
        }
        output.Flush();
        return 0;
    }

    // ---- arguments and answers

    static T Get<T>(string name) where T : class
    {
        object found;
        if (!objects.TryGetValue(name, out found))
            throw new MissingException();
        return (T)found;
    }

    static string Put(string name, object made)
    {
        objects[name] = made;
        return "";
    }

    static string Name(string text)
    {
        return text == "-" ? null : text;
    }

    static int Int(string text)
    {
        return int.Parse(text, plain);
    }

    static long Long(string text)
    {
        return long.Parse(text, plain);
    }

    static string Done(int result)
    {
        if (result != 0)
            throw new InvalidProgramException("errno " + Marshal.GetLastWin32Error());
        return "";
    }

    static string Hex(byte[] bytes)
    {
        return BitConverter.ToString(bytes).Replace("-", "").ToLowerInvariant();
    }

    static byte[] Bytes(string hex)
    {
        var bytes = new byte[hex.Length / 2];
        for (int i = 0; i < bytes.Length; i++)
            bytes[i] = byte.Parse(hex.Substring(2 * i, 2), NumberStyles.HexNumber, plain);
        return bytes;
    }

    static string Text(string hex)
    {
        var text = new StringBuilder();
        for (int i = 0; i < hex.Length; i += 4)
            text.Append((char)ushort.Parse(hex.Substring(i, 4), NumberStyles.HexNumber, plain));
        return text.ToString();
    }

    static string Units(string text)
    {
        var hex = new StringBuilder();
        foreach (char unit in text)
            hex.Append(((int)unit).ToString("x4", plain));
        return hex.ToString();
    }

    static uint Word(string hex)
    {
        return uint.Parse(hex, NumberStyles.HexNumber, plain);
    }

    static decimal Decimal(string words)
    {
        return new decimal(new[]
        {
            (int)Word(words.Substring(0, 8)), (int)Word(words.Substring(8, 8)),
            (int)Word(words.Substring(16, 8)), (int)Word(words.Substring(24, 8)),
        });
    }

    static string Words(decimal value)
    {
        var words = new StringBuilder();
        foreach (int word in decimal.GetBits(value))
            words.Append(word.ToString("x8", plain));
        return words.ToString();
    }

    static float Single(string bits)
    {
        return BitConverter.Int32BitsToSingle((int)Word(bits));
    }

    static double Double(string bits)
    {
        return BitConverter.Int64BitsToDouble(long.Parse(bits, NumberStyles.HexNumber, plain));
    }

    static byte[] Pattern(int size)
    {
        var bytes = new byte[size];
        for (int i = 0; i < size; i++)
            bytes[i] = (byte)(i * 7 + 1);
        return bytes;
    }

    // The runtime's own digests need a library of the system.
    static uint Crc32(byte[] bytes)
    {
        uint crc = uint.MaxValue;
        foreach (byte value in bytes)
        {
            crc ^= value;
            for (int bit = 0; bit < 8; bit++)
                crc = (crc & 1) != 0 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
        }
        return ~crc;
    }

    // ---- steps

    static string Step(string[] a)
    {
        switch (a[0])
        {
            // the disk
            case "make":
                File.WriteAllBytes(a[1], Pattern(Int(a[2])));
                return "";
            case "mkdir":
                Directory.CreateDirectory(a[1]);
                return "";
            case "remove":
                unlink(a[1]);
                rmdir(a[1]);
                return "";
            case "chmod":
                return Done(chmod(a[1], Convert.ToInt32(a[2], 8)));
            case "mkfifo":
                return Done(mkfifo(a[1], Convert.ToInt32("600", 8)));
            case "symlink":
                return Done(symlink(a[2], a[1]));
            case "state":
                if (Directory.Exists(a[1]))
                    return "directory";
                if (!File.Exists(a[1]))
                    return "missing";
                if (new FileInfo(a[1]).Length > 1 << 20)
                    return "huge";
                var contents = File.ReadAllBytes(a[1]);
                return contents.Length + " " + Crc32(contents).ToString("x8", plain);

            // maps
            case "from_path":
                return Put(a[1], MemoryMappedFile.CreateFromFile(
                    Name(a[2]), (FileMode)Int(a[3]), Name(a[4]), Long(a[5]), (MemoryMappedFileAccess)Int(a[6])));
            case "from_path_only":
                return Put(a[1], MemoryMappedFile.CreateFromFile(a[2]));
            case "open_file":
                return Put(a[1], new FileStream(a[2], FileMode.Open, (FileAccess)Int(a[3])));
            case "write_file":
                var text = Bytes(a[2]);
                Get<FileStream>(a[1]).Write(text, 0, text.Length);
                return "";
            case "is_open":
                var file = Get<FileStream>(a[1]);
                return (file.CanRead || file.CanWrite).ToString();
            case "from_stream":
                return Put(a[1], MemoryMappedFile.CreateFromFile(
                    a[2] == "-" ? null : Get<FileStream>(a[2]), Name(a[3]), Long(a[4]), (MemoryMappedFileAccess)Int(a[5]),
                    (HandleInheritability)Int(a[6]), a[7] == "1"));
            case "create_new":
                return Put(a[1], MemoryMappedFile.CreateNew(
                    Name(a[2]), Long(a[3]), (MemoryMappedFileAccess)Int(a[4]), (MemoryMappedFileOptions)Int(a[5]),
                    (HandleInheritability)Int(a[6])));
            case "create_or_open":
                return Put(a[1], MemoryMappedFile.CreateOrOpen(
                    Name(a[2]), Long(a[3]), (MemoryMappedFileAccess)Int(a[4]), (MemoryMappedFileOptions)Int(a[5]),
                    (HandleInheritability)Int(a[6])));
            case "open_existing":
                return Put(a[1], MemoryMappedFile.OpenExisting(
                    Name(a[2]), (MemoryMappedFileRights)Int(a[3]), (HandleInheritability)Int(a[4])));
            case "dispose":
                Get<IDisposable>(a[1]).Dispose();
                return "";
            case "end":
                var made = new List<object>(objects.Values);
                objects.Clear();
                made.Reverse(); // a writer flushes its stream
                foreach (IDisposable thing in made)
                    thing.Dispose();
                return "";

            // views
            case "accessor":
                return Put(a[1], Get<MemoryMappedFile>(a[2]).CreateViewAccessor(
                    Long(a[3]), Long(a[4]), (MemoryMappedFileAccess)Int(a[5])));
            case "default_accessor":
                return Put(a[1], Get<MemoryMappedFile>(a[2]).CreateViewAccessor());
            case "stream":
                return Put(a[1], Get<MemoryMappedFile>(a[2]).CreateViewStream(
                    Long(a[3]), Long(a[4]), (MemoryMappedFileAccess)Int(a[5])));
            case "default_stream":
                return Put(a[1], Get<MemoryMappedFile>(a[2]).CreateViewStream());
            case "accessor_is":
                var accessor = Get<MemoryMappedViewAccessor>(a[1]);
                return accessor.Capacity + " " + accessor.PointerOffset + " " + accessor.CanRead + " " + accessor.CanWrite;
            case "stream_is":
                var stream = Get<MemoryMappedViewStream>(a[1]);
                return stream.PointerOffset + " " + stream.CanRead + " " + stream.CanWrite + " " + stream.CanSeek;
            case "length":
                return Get<MemoryMappedViewStream>(a[1]).Length.ToString(plain);
            case "flush":
                var flushed = Get<object>(a[1]) as MemoryMappedViewAccessor;
                if (flushed != null)
                    flushed.Flush();
                else
                    Get<MemoryMappedViewStream>(a[1]).Flush();
                return "";

            // an accessor's
            case "read":
                return Read(Get<MemoryMappedViewAccessor>(a[1]), a[2], Long(a[3]));
            case "write":
                Write(Get<MemoryMappedViewAccessor>(a[1]), a[2], Long(a[3]), a[4]);
                return "";
            case "get":
                return OfRecord(a[2]).Read(Get<MemoryMappedViewAccessor>(a[1]), Long(a[3]));
            case "put":
                OfRecord(a[2]).Write(Get<MemoryMappedViewAccessor>(a[1]), Long(a[3]), Bytes(a[4]));
                return "";
            case "read_array":
                return OfRecord(a[2]).ReadArray(
                    Get<MemoryMappedViewAccessor>(a[1]), Long(a[3]), a[4] == "-" ? -1 : Int(a[4]), Int(a[5]), Int(a[6]));
            case "write_array":
                OfRecord(a[2]).WriteArray(
                    Get<MemoryMappedViewAccessor>(a[1]), Long(a[3]), a[4] == "-" ? null : Bytes(a[4]), Int(a[5]), Int(a[6]));
                return "";

            // a stream's
            case "s_read":
                var buffer = a[2] == "-" ? null : new byte[Int(a[2])];
                int read = Get<MemoryMappedViewStream>(a[1]).Read(buffer, 0, Int(a[3]));
                return read + " " + Hex(buffer);
            case "s_read_byte":
                return Get<MemoryMappedViewStream>(a[1]).ReadByte().ToString(plain);
            case "s_write":
                var data = a[2] == "-" ? null : Bytes(a[2]);
                Get<MemoryMappedViewStream>(a[1]).Write(data, 0, data == null ? 0 : data.Length);
                return "";
            case "s_write_byte":
                Get<MemoryMappedViewStream>(a[1]).WriteByte(byte.Parse(a[2], plain));
                return "";
            case "s_seek":
                return Get<MemoryMappedViewStream>(a[1]).Seek(Long(a[2]), (SeekOrigin)Int(a[3])).ToString(plain);
            case "position":
                return Get<MemoryMappedViewStream>(a[1]).Position.ToString(plain);
            case "set_position":
                Get<MemoryMappedViewStream>(a[1]).Position = Long(a[2]);
                return "";
            case "set_length":
                Get<MemoryMappedViewStream>(a[1]).SetLength(Long(a[2]));
                return "";

            // BinaryWriter and BinaryReader on a stream
            case "writer":
                return Put(a[1], new SevenBitWriter(Get<MemoryMappedViewStream>(a[2]), Coding(a[3])));
            case "reader":
                return Put(a[1], new SevenBitReader(Get<MemoryMappedViewStream>(a[2]), Coding(a[3])));
            case "b_write":
                BinaryWrite(Get<SevenBitWriter>(a[1]), a[2], a[3]);
                return "";
            case "b_read":
                return BinaryRead(Get<SevenBitReader>(a[1]), a[2], a.Length > 3 ? Int(a[3]) : 0);
        }
        throw new InvalidProgramException("no such step: " + a[0]);
    }

    static Encoding Coding(string name)
    {
        switch (name)
        {
            case "utf-8": return new UTF8Encoding(false, false);
            case "utf-16-le": return new UnicodeEncoding(false, false);
            case "latin-1": return Encoding.GetEncoding(28591);
        }
        throw new InvalidProgramException("no such encoding: " + name);
    }

    static string Read(MemoryMappedViewAccessor view, string type, long at)
    {
        switch (type)
        {
            case "boolean": return view.ReadBoolean(at).ToString();
            case "byte": return view.ReadByte(at).ToString(plain);
            case "sbyte": return view.ReadSByte(at).ToString(plain);
            case "char": return ((int)view.ReadChar(at)).ToString("x4", plain);
            case "int16": return view.ReadInt16(at).ToString(plain);
            case "uint16": return view.ReadUInt16(at).ToString(plain);
            case "int32": return view.ReadInt32(at).ToString(plain);
            case "uint32": return view.ReadUInt32(at).ToString(plain);
            case "int64": return view.ReadInt64(at).ToString(plain);
            case "uint64": return view.ReadUInt64(at).ToString(plain);
            case "single": return BitConverter.SingleToInt32Bits(view.ReadSingle(at)).ToString("x8", plain);
            case "double": return BitConverter.DoubleToInt64Bits(view.ReadDouble(at)).ToString("x16", plain);
            case "decimal": return Words(view.ReadDecimal(at));
        }
        throw new InvalidProgramException("no such type: " + type);
    }

    static void Write(MemoryMappedViewAccessor view, string type, long at, string value)
    {
        switch (type)
        {
            case "boolean": view.Write(at, bool.Parse(value)); return;
            case "byte": view.Write(at, byte.Parse(value, plain)); return;
            case "sbyte": view.Write(at, sbyte.Parse(value, plain)); return;
            case "char": view.Write(at, (char)Word(value)); return;
            case "int16": view.Write(at, short.Parse(value, plain)); return;
            case "uint16": view.Write(at, ushort.Parse(value, plain)); return;
            case "int32": view.Write(at, int.Parse(value, plain)); return;
            case "uint32": view.Write(at, uint.Parse(value, plain)); return;
            case "int64": view.Write(at, long.Parse(value, plain)); return;
            case "uint64": view.Write(at, ulong.Parse(value, plain)); return;
            case "single": view.Write(at, Single(value)); return;
            case "double": view.Write(at, Double(value)); return;
            case "decimal": view.Write(at, Decimal(value)); return;
        }
        throw new InvalidProgramException("no such type: " + type);
    }

    static void BinaryWrite(SevenBitWriter writer, string type, string value)
    {
        switch (type)
        {
            case "boolean": writer.Write(bool.Parse(value)); return;
            case "byte": writer.Write(byte.Parse(value, plain)); return;
            case "sbyte": writer.Write(sbyte.Parse(value, plain)); return;
            case "char": writer.Write((char)Word(value)); return;
            case "chars": writer.Write(Text(value).ToCharArray()); return;
            case "int16": writer.Write(short.Parse(value, plain)); return;
            case "uint16": writer.Write(ushort.Parse(value, plain)); return;
            case "int32": writer.Write(int.Parse(value, plain)); return;
            case "uint32": writer.Write(uint.Parse(value, plain)); return;
            case "int64": writer.Write(long.Parse(value, plain)); return;
            case "uint64": writer.Write(ulong.Parse(value, plain)); return;
            case "single": writer.Write(Single(value)); return;
            case "double": writer.Write(Double(value)); return;
            case "decimal": writer.Write(Decimal(value)); return;
            case "string": writer.Write(Text(value)); return;
            case "bytes": writer.Write(Bytes(value)); return;
            case "7bit": writer.Write7Bit(int.Parse(value, plain)); return;
        }
        throw new InvalidProgramException("no such type: " + type);
    }

    static string BinaryRead(SevenBitReader reader, string type, int count)
    {
        switch (type)
        {
            case "boolean": return reader.ReadBoolean().ToString();
            case "byte": return reader.ReadByte().ToString(plain);
            case "sbyte": return reader.ReadSByte().ToString(plain);
            case "char": return ((int)reader.ReadChar()).ToString("x4", plain);
            case "chars": return Units(new string(reader.ReadChars(count)));
            case "int16": return reader.ReadInt16().ToString(plain);
            case "uint16": return reader.ReadUInt16().ToString(plain);
            case "int32": return reader.ReadInt32().ToString(plain);
            case "uint32": return reader.ReadUInt32().ToString(plain);
            case "int64": return reader.ReadInt64().ToString(plain);
            case "uint64": return reader.ReadUInt64().ToString(plain);
            case "single": return BitConverter.SingleToInt32Bits(reader.ReadSingle()).ToString("x8", plain);
            case "double": return BitConverter.DoubleToInt64Bits(reader.ReadDouble()).ToString("x16", plain);
            case "decimal": return Words(reader.ReadDecimal());
            case "string": return Units(reader.ReadString());
            case "bytes": return Hex(reader.ReadBytes(count));
            case "7bit": return reader.Read7Bit().ToString(plain);
        }
        throw new InvalidProgramException("no such type: " + type);
    }

    static Record OfRecord(string name)
    {
        switch (name)
        {
            case "Byte": return new Record<byte>();
            case "Boolean": return new Record<bool>();
            case "Int16": return new Record<short>();
            case "Packed3": return new Record<Packed3>();
            case "Int32": return new Record<int>();
            case "Packed5": return new Record<Packed5>();
            case "Double": return new Record<double>();
            case "Natural": return new Record<Natural>();
        }
        throw new InvalidProgramException("no such record: " + name);
    }
}

abstract class Record
{
    public abstract string Read(MemoryMappedViewAccessor view, long at);
    public abstract void Write(MemoryMappedViewAccessor view, long at, byte[] value);
    public abstract string ReadArray(MemoryMappedViewAccessor view, long at, int length, int offset, int count);
    public abstract void WriteArray(MemoryMappedViewAccessor view, long at, byte[] array, int offset, int count);
}

// The generic methods; values travel as the bytes that they have in memory.
class Record<T> : Record where T : struct
{
    static string Hex(T[] values)
    {
        var bytes = MemoryMarshal.AsBytes(new Span<T>(values)).ToArray();
        return BitConverter.ToString(bytes).Replace("-", "").ToLowerInvariant();
    }

    static T[] Values(byte[] bytes)
    {
        return MemoryMarshal.Cast<byte, T>(new Span<byte>(bytes)).ToArray();
    }

    public override string Read(MemoryMappedViewAccessor view, long at)
    {
        T value;
        view.Read(at, out value);
        return Hex(new[] { value });
    }

    public override void Write(MemoryMappedViewAccessor view, long at, byte[] value)
    {
        T only = Values(value)[0];
        view.Write(at, ref only);
    }

    public override string ReadArray(MemoryMappedViewAccessor view, long at, int length, int offset, int count)
    {
        var values = length < 0 ? null : new T[length];
        int read = view.ReadArray(at, values, offset, count);
        return read + " " + Hex(values);
    }

    public override void WriteArray(MemoryMappedViewAccessor view, long at, byte[] array, int offset, int count)
    {
        view.WriteArray(at, array == null ? null : Values(array), offset, count);
    }
}
